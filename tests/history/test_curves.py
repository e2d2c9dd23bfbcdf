"""Curves of runs whose metrics.jsonl was made by hand."""

from __future__ import annotations

from pathlib import Path

from run_folders import make_run

from ptv2_scale.history.curves import curves_of
from ptv2_scale.history.runs import read_run


def test_a_step_that_was_made_again_counts_the_second_time(tmp_path: Path) -> None:
    (found,) = curves_of([read_run(make_run(tmp_path / "one"))])
    first = [(step, 1.0 / step) for step in range(1, 5)]
    again = [(step, 0.5 / step) for step in range(5, 9)]
    assert list(found.loss) == [*first, *again]
    assert found.validation_loss == ((4, 0.25), (8, 0.375))
    assert found.metrics == {"accuracy": ((4, 0.75), (8, 0.625)), "f1": ((4, 0.375), (8, 0.3125))}
    assert found.learning_rate[0] == (1, 0.005)
    assert (found.label, found.trivial) == ("one", ("accuracy", 0.5))


def test_labels_are_whole_paths_where_two_folders_are_called_alike(tmp_path: Path) -> None:
    paths = [make_run(tmp_path / folder / "run") for folder in ("a", "b")]
    assert [one.label for one in curves_of(list(map(read_run, paths)))] == list(map(str, paths))
