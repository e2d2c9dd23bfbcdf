"""Metrics against their definitions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptv2_scale.tasks.base import Task
from ptv2_scale.tasks.metrics import majority, metric_named

TaskOf = Callable[..., Task]


def f1_of(truth: Sequence[int], predicted: Sequence[int], label: int) -> float:
    hits = sum(t == p == label for t, p in zip(truth, predicted, strict=True))
    named = sum(t == label for t in truth) + sum(p == label for p in predicted)
    return 2 * hits / named if named else 0.0


def by_definition(name: str, truth: Sequence[int], predicted: Sequence[int], n: int) -> float:
    pairs = list(zip(truth, predicted, strict=True))
    if name == "accuracy":
        return sum(t == p for t, p in pairs) / len(pairs)
    if name == "f1":
        return f1_of(truth, predicted, 1)
    if name == "f1_macro":
        return sum(f1_of(truth, predicted, label) for label in range(n)) / n
    tp, tn, fp, fn = (pairs.count(which) for which in ((1, 1), (0, 0), (0, 1), (1, 0)))
    below = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / math.sqrt(below) if below else 0.0


@pytest.mark.filterwarnings("ignore:A single label")
@given(
    st.sampled_from(["accuracy", "f1", "f1_macro", "matthews"]),
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40),
)
def test_two_classes(name: str, pairs: list[tuple[int, int]]) -> None:
    truth, predicted = [t for t, _ in pairs], [p for _, p in pairs]
    found = metric_named(name, 2).score(truth, predicted)
    assert found == pytest.approx(by_definition(name, truth, predicted, 2), abs=1e-12)


def test_macro_f1_counts_a_class_that_is_never_seen() -> None:
    found = metric_named("f1_macro", 3).score([0, 0, 1], [0, 1, 1])
    assert found == pytest.approx(by_definition("f1_macro", [0, 0, 1], [0, 1, 1], 3))


@pytest.mark.filterwarnings("ignore:A single label")
def test_majority() -> None:
    truth = [1, 0, 1, 1, 2]
    assert majority(truth, metric_named("accuracy", 3)) == 0.6
    assert majority(truth, metric_named("f1_macro", 3)) == pytest.approx(0.75 / 3)
    assert majority([0, 1, 1], metric_named("f1", 2)) == pytest.approx(0.8)
    assert majority([0, 1], metric_named("f1", 2)) == 0.0  # at a tie, the first class
    assert majority([0, 1, 1], metric_named("matthews", 2)) == 0.0
