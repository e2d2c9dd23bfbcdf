"""What the best hyper-parameters of a cell score over seeds, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import TypeVar

from ptv2_scale.history.outcome import Outcome
from ptv2_scale.sweep.records import TrialRecord, best_params, show

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Summary:
    """The best values of some trials of one cell.

    Attributes:
        trials: those with the best values, one a seed; at least one, all done.
        scores: their scores.
    """

    trials: tuple[TrialRecord, ...]
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean score over seeds."""
        return mean(self.scores)

    @property
    def deviation(self) -> float | None:
        """Standard deviation over seeds (of a sample, n - 1); None: there is one seed."""
        return stdev(self.scores) if len(self.scores) > 1 else None

    @property
    def values(self) -> str:
        """The best hyper-parameters: "train.lr=0.01 prompt.length=8"."""
        return " ".join(f"{key}={show(value)}" for key, value in self.trials[0].params.items())

    @property
    def outcome(self) -> Outcome:
        """What the first seed's run says: for what is alike over seeds."""
        return self.trials[0].outcome

    @property
    def trained_share(self) -> float | None:
        """Trained parameters as a share of all."""
        trained, every = self.outcome.trained_parameters, self.outcome.all_parameters
        return trained / every if trained is not None and every else None

    @property
    def seconds(self) -> float | None:
        """Mean wall-clock time of a run, in seconds."""
        found = _known(one.outcome.seconds for one in self.trials)
        return mean(found) if found else None

    @property
    def peak_memory_bytes(self) -> int | None:
        """The largest peak of memory of a rank over the runs."""
        return max(_known(one.outcome.peak_memory_bytes for one in self.trials), default=None)

    @property
    def export_bytes(self) -> int | None:
        """Bytes of the largest exported file over the runs."""
        return max(_known(one.outcome.export_bytes for one in self.trials), default=None)


def summary_of(records: Iterable[TrialRecord]) -> Summary | None:
    """The best values of some trials of one cell; None: none of them is done."""
    best = sorted(best_params(records), key=lambda one: one.seed)
    scores = tuple(one.score for one in best if one.score is not None)
    return Summary(tuple(best), scores) if scores else None


def trivial_score(records: Sequence[TrialRecord]) -> float | None:
    """The highest score of always giving one answer among some trials; None: not known."""
    return max(_known(one.outcome.trivial for one in records), default=None)


def _known(values: Iterable[Number | None]) -> list[Number]:
    return [value for value in values if value is not None]
