"""Metrics by the name a recipe uses; all of them better when higher.

scikit-learn computes them. It takes a quarter of a rank's time to start, so it is loaded where such
a score is wanted; a share of right answers does not need it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ptv2_scale.runtime.errors import UserError

Labels = Sequence[int]
Score = Callable[[Labels, Labels], float]


@dataclass(frozen=True)
class Metric:
    """A named score.

    Attributes:
        name: as in a recipe and in results.
        score: (true classes, predicted classes) -> 0 to 1, or -1 to 1 for matthews. Needs at least
            one example.
    """

    name: str
    score: Score


def _accuracy(truth: Labels, predicted: Labels) -> float:
    right = sum(one == other for one, other in zip(truth, predicted, strict=True))
    return float(right / len(truth))


def _f1(classes: int, positive: int) -> Score:
    def score(truth: Labels, predicted: Labels) -> float:
        from sklearn.metrics import f1_score

        return float(f1_score(truth, predicted, pos_label=positive, zero_division=0.0))

    return score


def _f1_macro(classes: int, positive: int) -> Score:
    # Over all classes, so that the score means the same whatever happens to be predicted.
    every = list(range(classes))

    def score(truth: Labels, predicted: Labels) -> float:
        from sklearn.metrics import f1_score

        return float(f1_score(truth, predicted, labels=every, average="macro", zero_division=0.0))

    return score


def _matthews(truth: Labels, predicted: Labels) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(truth, predicted))


# (classes, number of the positive one) -> the score
METRICS: dict[str, Callable[[int, int], Score]] = {
    "accuracy": lambda classes, positive: _accuracy,
    "f1": _f1,
    "f1_macro": _f1_macro,
    "matthews": lambda classes, positive: _matthews,
}


def metric_named(name: str, classes: int, positive: int = 1) -> Metric:
    """The metric of that name, for a task of so many classes.

    `f1` is that of the class `positive`, for MRPC the second; `f1_macro` is the mean over all.

    Raises:
        UserError: f1 was asked for, and there are not two classes.
    """
    if name == "f1" and classes != 2:
        raise UserError(
            f"task.metric: f1 is for two classes, and the task has {classes}; use f1_macro"
        )
    return Metric(name, METRICS[name](classes, positive))


def majority(labels: Labels, metric: Metric) -> float:
    """The score of always answering the most frequent class of `labels` (at a tie, the first)."""
    counts = Counter(labels)
    most = max(sorted(counts), key=lambda label: counts[label])
    return metric.score(labels, [most] * len(labels))
