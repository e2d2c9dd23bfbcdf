"""What a reader of a sweep should be warned of, as pure functions of its trials."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import Literal

from ptv2_scale.sweep.records import TrialRecord, best_params, by_cell, show

Kind = Literal["trivial", "diverged", "edge", "seeds", "unfinished"]

# Scores are shares of 1. The deviation over seeds that published tables report for small tasks
# (CB, COPA, RTE, WSC) is 0.01 to 0.03.
SEEDS_DISAGREE = 0.05
NO_BETTER = 1e-9


@dataclass(frozen=True)
class Flag:
    """A warning about a trial or a cell.

    Attributes:
        kind: "trivial": a trial is stuck at always giving the same answer; "diverged": its loss was
            not finite or rose; "edge": the best value of a cell is the lowest or highest that was
            tried; "seeds": seeds of the best values disagree; "unfinished": a trial was not trained
            to the end, or was best at its last evaluation.
        cell: the cell.
        trial: name of the trial; empty: it is about the whole cell.
        text: one sentence, with what to do.
    """

    kind: Kind
    cell: str
    trial: str
    text: str


def flags_of(records: Iterable[TrialRecord]) -> list[Flag]:
    """All warnings of a sweep, cell by cell."""
    found: list[Flag] = []
    for own in by_cell(records).values():
        for record in own:
            found += [flag for check in _TRIALS if (flag := check(record)) is not None]
        found += [*edges(own), *seeds_disagree(own)]
    return found


def stuck_at_trivial(record: TrialRecord) -> Flag | None:
    """A finished run whose score is no better than always giving the same answer."""
    outcome = record.outcome
    if record.score is None or outcome.trivial is None:
        return None
    if record.score > outcome.trivial + NO_BETTER:
        return None
    answer = outcome.trivial_answer or "one answer"
    text = (
        f"{outcome.metric} {record.score:.4f} is no better than {answer} alone"
        f" ({outcome.trivial:.4f}): try another learning rate or more steps"
    )
    return Flag("trivial", record.cell, record.name, text)


def diverged(record: TrialRecord) -> Flag | None:
    """A run whose loss or score was not finite, or whose loss rose from its first to last steps."""
    outcome = record.outcome
    scores = (outcome.score, *outcome.metrics.values(), *(outcome.losses or ()))
    if outcome.not_finite:
        text = f"the loss or gradient of {outcome.not_finite} steps was not finite"
    elif any(value is not None and not math.isfinite(value) for value in scores):
        text = "its loss or a metric is not finite"
    elif outcome.losses is not None and outcome.losses[1] > 1.5 * outcome.losses[0]:
        text = "the loss rose from {:.3g} to {:.3g}".format(*outcome.losses)
    else:
        return None
    return Flag("diverged", record.cell, record.name, f"{text}: try a smaller learning rate")


def not_trained_to_the_end(record: TrialRecord) -> Flag | None:
    """A run that has not got to its end, or was best at its last evaluation."""
    outcome = record.outcome
    if record.state in ("failed", "interrupted", "pruned") and outcome.steps:
        text = f"{record.state} after step {outcome.steps}"
        return Flag("unfinished", record.cell, record.name, text)
    if record.state != "done" or len(outcome.curve) < 2 or outcome.best_step != outcome.steps:
        return None
    text = f"best at its last evaluation, step {outcome.steps}: more steps may score higher"
    return Flag("unfinished", record.cell, record.name, text)


def edges(records: Sequence[TrialRecord]) -> list[Flag]:
    """Numbers whose best value in a cell is the lowest or the highest that the sweep allows."""
    best = best_params(records)
    found = []
    for key, (low, high) in (best[0].ranges if best else {}).items():
        value = best[0].params.get(key)
        if not isinstance(value, int | float) or low == high or low < value < high:
            continue
        end, way = ("lowest", "lower") if value <= low else ("highest", "higher")
        text = f"the best {key}, {show(value)}, is the {end} that was tried: try {way} ones"
        found.append(Flag("edge", best[0].cell, "", text))
    return found


def seeds_disagree(records: Sequence[TrialRecord], most: float = SEEDS_DISAGREE) -> list[Flag]:
    """Best values whose scores over seeds have a standard deviation above `most`."""
    best = best_params(records)
    scores = [one.score for one in best if one.score is not None]
    if len(scores) < 2 or stdev(scores) <= most:
        return []
    text = (
        f"{len(scores)} seeds of its best values score from {min(scores):.4f} to {max(scores):.4f}"
        ": try more seeds before comparing"
    )
    return [Flag("seeds", best[0].cell, "", text)]


_TRIALS = (stuck_at_trivial, diverged, not_trained_to_the_end)
