"""The state of a sweep: what is planned, who has which trial, and how trials ended.

What is planned is put in once, waiting. A process has a trial while it holds the trial's lease; one
that Optuna has as running and nobody holds was interrupted, and goes on where it is taken next.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any

from ptv2_scale.history.outcome import Outcome, read_outcome, stored_outcome
from ptv2_scale.sweep.cells import Cell, Planned
from ptv2_scale.sweep.lease import Lease
from ptv2_scale.sweep.load import SweepFile
from ptv2_scale.sweep.records import TrialRecord, TrialState, best_params
from ptv2_scale.sweep.space import choose
from ptv2_scale.sweep.storage import open_storage, state_url
from ptv2_scale.sweep.studies import (
    CODE,
    JOB,
    KEY,
    OUTCOME,
    PARAMS,
    REASON,
    RUN,
    SEED,
    Studies,
    is_left_out,
    latest,
)

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

_PATIENCE_S = 0.2


@dataclass(frozen=True)
class Claimed:
    """A trial that this process has.

    Attributes:
        cell: of the trial.
        key: of the run in its cell.
        params: values of the keys that are tried.
        seed: `train.seed`.
        run: its run directory.
        trial: its number in Optuna's storage.
        lease: keeps others away.
        job: what a launcher has noted of it; None: nothing.
    """

    cell: Cell
    key: str
    params: Mapping[str, Any]
    seed: int
    run: Path
    trial: int
    lease: Lease
    job: str | None

    @property
    def overrides(self) -> tuple[str, ...]:
        """The words that make the cell's recipe the recipe of this run."""
        return self.cell.overrides(self.params, self.seed, self.run)


@dataclass(frozen=True)
class Ending:
    """How a trial ended.

    Attributes:
        state: "done", "failed", "pruned", or "interrupted": it goes on where it is taken next.
        exit_code: of its launch; None: it has none.
        reason: the last line of the error; empty where there is none.
    """

    state: TrialState
    exit_code: int | None = None
    reason: str = ""


class SweepState:
    """The state of one sweep.

    Args:
        studies: of the sweep, in Optuna's storage.
    """

    def __init__(self, studies: Studies) -> None:
        self._studies = studies

    @classmethod
    def of(cls, file: SweepFile, *, make: bool = False) -> SweepState:
        """The state that a sweep file names.

        Args:
            file: the sweep file.
            make: whether a state that is not there is made.

        Raises:
            UserError: see `open_storage`.
        """
        url = state_url(file.config.state, file.folder)
        if not make:
            return cls(Studies(open_storage(url, make=False), file.name, file.folder))
        with exclusive(file.folder):  # of two that make its tables at once, one would fail
            return cls(Studies(open_storage(url, make=True), file.name, file.folder))

    def load(self) -> list[TrialRecord]:
        """All trials of the sweep, cell by cell; of one that was tried again, the last time."""
        return self._studies.records()

    def prepare(self, cells: Sequence[Cell], left_out: Mapping[str, str] | None = None) -> None:
        """Put in what is planned and not there yet, and take out what is not planned any more.

        Args:
            cells: of the sweep.
            left_out: labels of those that do not fit, with the reason: nothing of them is begun.

        Raises:
            UserError: a cell's recipe has changed since its first run was put in.
        """
        with exclusive(self._studies.folder):
            for number, cell in enumerate(cells):
                self._studies.make(cell, number)
                reason = (left_out or {}).get(cell.label)
                if reason is None:
                    self._studies.add(cell, cell.planned)
                else:
                    self._studies.leave_out(cell, cell.planned, reason)
            self._studies.take_out(cells)

    def confirm(self, cells: Sequence[Cell]) -> None:
        """Put in the best runs of searches that have ended with the other seeds."""
        searched = {cell.label: cell for cell in cells if cell.search and len(cell.seeds) > 1}
        records = self.load() if searched else []
        for label, cell in searched.items():
            best = best_params(one for one in records if one.cell == label)
            if best and not self.is_open([cell]):
                more = [cell.run_of(best[0].params, seed) for seed in cell.seeds[1:]]
                with exclusive(self._studies.folder):
                    self._studies.add(cell, more)

    def is_open(self, cells: Sequence[Cell]) -> bool:
        """Whether trials wait or run, in this process or another."""
        from optuna.trial import TrialState as State

        studies = filter(None, map(self._studies.of, cells))
        wanted = (State.WAITING, State.RUNNING)
        return any(study.get_trials(deepcopy=False, states=wanted) for study in studies)

    def retry(self, cells: Sequence[Cell]) -> int:
        """Put failed trials in again; returns how many there are."""
        with exclusive(self._studies.folder):
            again = [(cell, trial) for cell in cells for trial in self._failed(cell)]
            for cell, trial in again:
                own = trial.user_attrs
                self._studies.enqueue(cell, Planned(own[KEY], own.get(PARAMS), own[SEED]))
        return len(again)

    def _failed(self, cell: Cell) -> list[FrozenTrial]:
        from optuna.trial import TrialState as State

        study = self._studies.of(cell)
        failed = (one for one in latest(study) if one.state == State.FAIL) if study else ()
        return [one for one in failed if not is_left_out(one)]

    def claim(self, cells: Sequence[Cell]) -> Claimed | None:
        """A trial for this process, interrupted ones first; None: there is none to be had now.

        Raises:
            UserError: see `Lease.take` and `choose`.
        """
        from optuna.trial import TrialState as State

        for wanted in (State.RUNNING, State.WAITING):
            for cell in cells:
                study = self._studies.of(cell)
                for trial in study.get_trials(False, (wanted,)) if study else ():
                    assert study is not None
                    found = self._take(study, cell, trial) if KEY in trial.user_attrs else None
                    if found is not None:
                        return found
        return None

    def _take(self, study: Study, cell: Cell, trial: FrozenTrial) -> Claimed | None:
        lease = Lease.take(self._studies.lock_of(trial))
        if lease is None:
            return None
        number, own = trial._trial_id, trial.user_attrs
        if not self._begin(number):
            lease.release()
            return None
        chosen = choose(study, number, cell)
        params = own.get(PARAMS)
        if params is None:
            params = chosen
            self._note(number, PARAMS, params)
        run, job = self._studies.folder / own[RUN], own.get(JOB)
        return Claimed(cell, own[KEY], params, own[SEED], run, number, lease, job)

    def _begin(self, trial: int) -> bool:
        """Whether a trial whose lease this process holds is one to be run."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState as State

        storage = self._studies.storage
        try:
            begun = storage.set_trial_state_values(trial, State.RUNNING)
        except UpdateFinishedTrialError:
            return False
        # On several hosts without a common folder, Optuna alone says whose it is.
        return begun or storage.get_trial(trial).state == State.RUNNING

    def should_prune(self, claimed: Claimed) -> bool:
        """Whether a trial of a search scores so little that it is to be stopped early."""
        from optuna.trial import Trial

        study = self._studies.of(claimed.cell)
        assert study is not None
        for step, score in read_outcome(claimed.run).curve:
            if math.isfinite(score):
                self._studies.storage.set_trial_intermediate_value(claimed.trial, step, score)
        return Trial(study, claimed.trial).should_prune()

    def note_job(self, claimed: Claimed, job: str) -> None:
        """Keep what a launcher has to know of a trial that another process takes over."""
        self._note(claimed.trial, JOB, job)

    def finish(self, claimed: Claimed, ending: Ending) -> Ending:
        """Note how a trial ended, and let others have it.

        Returns:
            The same; but a run that is done without a finite score has failed.
        """
        if ending.state != "interrupted":
            outcome = read_outcome(claimed.run)
            ending = _with_score(ending, outcome)
            self._end(claimed.trial, ending, outcome)
        claimed.lease.release()
        return ending

    def _end(self, trial: int, ending: Ending, outcome: Outcome) -> None:
        from optuna.trial import TrialState as State

        storage = self._studies.storage
        for step, score in outcome.curve:
            if math.isfinite(score):
                storage.set_trial_intermediate_value(trial, step, score)
        self._note(trial, OUTCOME, stored_outcome(outcome))
        self._note(trial, REASON, ending.reason)
        self._note(trial, CODE, ending.exit_code)
        states = {"done": State.COMPLETE, "pruned": State.PRUNED}
        values = [outcome.score] if ending.state == "done" and outcome.score is not None else None
        storage.set_trial_state_values(trial, states.get(ending.state, State.FAIL), values)

    def _note(self, trial: int, key: str, value: Any) -> None:
        self._studies.storage.set_trial_user_attr(trial, key, value)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Let no other process make a sweep's state, or put trials in, meanwhile."""
    while (lease := Lease.take(folder / ".sweep.lock")) is None:
        sleep(_PATIENCE_S)
    try:
        yield
    finally:
        lease.release()


def _with_score(ending: Ending, outcome: Outcome) -> Ending:
    if ending.state != "done":
        return ending
    if outcome.score is None:
        return replace(ending, state="failed", reason="it left no result.json")
    if not math.isfinite(outcome.score):
        return replace(ending, state="failed", reason=f"{outcome.metric} is {outcome.score}")
    return ending
