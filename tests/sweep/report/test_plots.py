"""What figures show, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweep_trials import ladder, trial

from ptv2_scale.sweep.report.plots import Plot, plots_of


def named(plots: list[Plot]) -> dict[str, Plot]:
    return {plot.name: plot for plot in plots}


def test_scores_by_size_are_means_of_the_seeds() -> None:
    (panel,) = named(plots_of(ladder()))["score-by-size"].panels
    assert (panel.title, panel.metric, panel.trivial) == ("rte", "accuracy", 0.5)
    lines = {line.label: line.points for line in panel.lines}
    assert [point.x for point in lines["full"]] == [1e6, 1e7, 1e8]
    assert [point.found.mean for point in lines["full"]] == pytest.approx([0.61, 0.71, 0.81])
    assert [point.found.mean for point in lines["prompt"]] == pytest.approx([0.56, 0.66, 0.76])


def test_fine_tuning_stands_where_its_backbone_does_for_other_methods() -> None:
    """It freezes nothing, and trains the head, too."""
    trials = [
        trial({"backbone": name, "method": "full"}, 0.6, trained_parameters=size + 10,
              backbone_parameters=0)
        for name, size in (("small", 10**6), ("base", 10**7))
    ]  # fmt: skip
    other = trial({"backbone": "small", "method": "none"}, 0.5)
    (panel,) = named(plots_of([*trials, other]))["score-by-size"].panels
    assert [[point.x for point in line.points] for line in panel.lines] == [
        [10**6, 10**7 + 10],
        [10**6],
    ]


def test_only_what_varies_is_drawn() -> None:
    assert list(named(plots_of(ladder()))) == ["score-by-size", "score-by-share", "score-by-cost"]
    assert plots_of([trial({"method": "a"}, 0.7), trial({"method": "b"}, None)]) == []
    assert plots_of([]) == []


def test_lengths_inside_a_cell_are_compared_at_their_own_best_values() -> None:
    scores = {(4, 0.1): 0.6, (4, 0.01): 0.7, (8, 0.1): 0.8, (8, 0.01): 0.5, (16, 0.1): None}
    trials = [
        trial({"method": "prefix"}, score, params={"prompt.length": length, "train.lr": lr})
        for (length, lr), score in scores.items()
    ]
    plot = named(plots_of(trials))["score-by-length"]
    points = [(point.x, point.found.mean) for point in plot.panels[0].lines[0].points]
    assert points == [(4, 0.7), (8, 0.8)]
    assert (plot.log, plot.categories) == (True, ())


def test_a_length_that_is_an_axis_is_no_part_of_a_lines_name() -> None:
    trials = [
        trial({"prompt.length": length, "method": method, "task.max_length": "64"}, 0.6)
        for method in ("a", "b")
        for length in ("8", "4")
    ]
    (panel,) = named(plots_of(trials))["score-by-length"].panels
    assert [line.label for line in panel.lines] == [
        "a, task.max_length=64",
        "b, task.max_length=64",
    ]
    assert [point.x for point in panel.lines[0].points] == [4, 8]


def test_depths_that_are_no_numbers_keep_the_order_of_the_sweep() -> None:
    layers = ("1-2", "1-4", "all")
    plot = named(plots_of([trial({"prompt.layers": one}, 0.6) for one in layers]))["score-by-depth"]
    assert plot.categories == layers
    assert [point.x for point in plot.panels[0].lines[0].points] == [0, 1, 2]


def test_the_frontier_has_what_nothing_cheaper_is_better_than() -> None:
    costs = {"a": (10.0, 0.6), "b": (20.0, 0.55), "c": (30.0, 0.9), "d": (40.0, 0.9)}
    trials = [trial({"method": m}, score, seconds=cost) for m, (cost, score) in costs.items()]
    (panel,) = named(plots_of(trials))["score-by-cost"].panels
    assert [(point.x, point.found.mean) for point in panel.frontier] == [(10, 0.6), (30, 0.9)]


def test_shares_are_in_percent() -> None:
    trials = [
        trial({"method": m}, 0.6, trained_parameters=trained, backbone_parameters=1000 - trained)
        for m, trained in (("few", 10), ("all", 1000))
    ]
    (panel,) = named(plots_of(trials))["score-by-share"].panels
    assert [line.points[0].x for line in panel.lines] == [1.0, 100.0]


def test_every_task_has_its_panel() -> None:
    trials = [
        trial({"task": task, "backbone": size}, 0.6, run=Path("r"))
        for task in ("rte", "cb")
        for size in ("small", "base")
    ]
    plot = named(plots_of(trials))["score-by-size"]
    assert [panel.title for panel in plot.panels] == ["rte", "cb"]
    assert [line.label for line in plot.panels[0].lines] == ["all"]
