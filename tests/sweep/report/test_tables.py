"""Tables of trials with scores by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweep_trials import ladder, trial

from ptv2_scale.sweep.report.tables import best_table, byte_words, scores_table


def test_methods_stand_beside_each_other_and_the_best_is_known() -> None:
    table = scores_table(ladder())
    assert table.columns == ("task", "backbone", "metric", "trivial", "full", "prompt")
    assert [[one.text for one in row] for row in table.rows] == [
        ["rte", "small", "accuracy", "0.500", "0.610 ± 0.014", "0.560 ± 0.014"],
        ["rte", "base", "accuracy", "0.500", "0.710 ± 0.014", "0.660 ± 0.014"],
        ["rte", "large", "accuracy", "0.500", "0.810 ± 0.014", "0.760 ± 0.014"],
    ]
    assert [one.best for one in table.rows[0]] == [False] * 4 + [True, False]
    assert table.rows[0][4].value == pytest.approx(0.61)
    assert [table.is_number(column) for column in range(6)] == [False] * 3 + [True] * 3


def test_axes_by_other_names_and_without_a_part_are_rows() -> None:
    axes = {"prompt.method": "prefix", "task.max_length": "128", "backbone.name": "b"}
    table = scores_table([trial(axes, 0.7), trial({**axes, "prompt.method": "lora"}, None)])
    assert table.columns == (
        *("backbone.name", "task.max_length", "metric", "trivial", "prefix", "lora"),
    )
    assert [one.text for one in table.rows[0]][-2:] == ["0.700", "failed"]


def test_a_sweep_without_axes_is_one_row() -> None:
    table = scores_table([trial({}, 0.7)])
    assert table.columns == ("sweep", "metric", "trivial", "score")
    assert [one.text for one in table.rows[0]] == ["all", "accuracy", "0.500", "0.700"]


def test_costs_are_those_of_the_best_values() -> None:
    axes = {"method": "prefix"}
    slow = trial(axes, 0.6, params={"train.lr": 1.0}, seconds=99.0)
    best = trial(axes, 0.7, seconds=1234.5, peak_memory_bytes=3 * 2**29, export_bytes=12345)
    table = best_table([slow, best, trial(axes, None, seed=2)])
    found = dict(zip(table.columns, (one.text for one in table.rows[0]), strict=True))
    assert found == {
        "method": "prefix",
        "metric": "accuracy",
        "score": "0.700",
        "seeds": "1",
        "trivial": "0.500",
        "best hyper-parameters": "train.lr=0.01",
        "trained": "0.100%",
        "trained parameters": "1,000",
        "seconds": "1,234",
        "peak memory": "1.5 GiB",
        "bytes of the file": "12,345",
        "done": "2",
        "failed": "1",
        "all": "3",
    }


def test_a_cell_without_a_result_is_a_row_too() -> None:
    table = best_table([trial({"method": "x"}, None, run=Path("r"))])
    assert [one.text for one in table.rows[0]][2:5] == ["failed", "–", "0.500"]
    assert table.rows[0][2].cell == "x"


@pytest.mark.parametrize(
    ("count", "words"), [(1023, "1023 B"), (1024, "1.0 KiB"), (2**40, "1.0 TiB")]
)
def test_bytes_in_words(count: int, words: str) -> None:
    assert byte_words(count) == words
