"""A sweep's studies in Optuna's storage, one a cell, and their trials as records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptv2_scale.checkpoint.compatibility import changes
from ptv2_scale.config import RunConfig
from ptv2_scale.history.outcome import Outcome, outcome_of
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.sweep.cells import Cell, Planned
from ptv2_scale.sweep.lease import Lease, is_held
from ptv2_scale.sweep.records import TrialRecord, TrialState
from ptv2_scale.sweep.space import fixed, pruner_of, ranges_of, sampler_of, tried_in

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

# Attributes of a study, and of a trial.
CELL, RECIPE = "cell", "recipe"
KEY, PARAMS, SEED, RUN = "key", "params", "seed", "run"
REASON, CODE, OUTCOME, JOB = "reason", "exit_code", "outcome", "job"
LEFT_OUT = "left_out"  # never begun, for its cell does not fit


class Studies:
    """The studies of one sweep.

    Args:
        storage: Optuna's.
        name: of the sweep; its studies' names begin with it.
        folder: of the sweep's runs.
    """

    def __init__(self, storage: BaseStorage, name: str, folder: Path) -> None:
        self.storage, self._name, self.folder = storage, name, folder
        self._open: dict[str, Study] = {}

    def of(self, cell: Cell) -> Study | None:
        """The study of a cell; None: it has none yet."""
        from optuna.study import load_study

        if cell.label not in self._open:
            try:
                self._open[cell.label] = load_study(
                    study_name=self._study_name(cell),
                    storage=self.storage,
                    sampler=sampler_of(cell),
                    pruner=pruner_of(cell.search),
                )
            except KeyError:
                return None
        return self._open[cell.label]

    def make(self, cell: Cell, number: int) -> Study:
        """The study of a cell, made where there is none.

        Args:
            cell: the cell.
            number: its place in the sweep.

        Raises:
            UserError: the cell's recipe is another one than that of its runs so far.
        """
        from optuna.study import create_study

        study = self.of(cell)
        if study is None:
            create_study(
                study_name=self._study_name(cell), storage=self.storage, direction="maximize"
            )
            study = self.of(cell)
            assert study is not None
        if RECIPE not in study.user_attrs:  # last: a process that was killed has not got so far
            own = {"sweep": self._name, "label": cell.label, "number": number}
            own |= {"axes": dict(cell.axes), "tried": tried_in(cell)}
            study.set_user_attr(CELL, own)
            study.set_user_attr(RECIPE, cell.config.model_dump(mode="json"))
        _check_unchanged(study.user_attrs[RECIPE], cell)
        known = study.user_attrs[CELL]
        if known["tried"] != tried_in(cell):
            study.set_user_attr(CELL, {**known, "tried": tried_in(cell)})
        return study

    def add(self, cell: Cell, planned: Iterable[Planned]) -> None:
        """Put runs in, waiting, that a cell does not have yet."""
        study = self.of(cell)
        assert study is not None
        known = {trial.user_attrs[KEY] for trial in latest(study) if not is_left_out(trial)}
        for one in planned:
            if one.key not in known:
                self.enqueue(cell, one)

    def leave_out(self, cell: Cell, planned: Iterable[Planned], reason: str) -> None:
        """Note runs as never begun, those that wait among them; others stay as they are."""
        from optuna.trial import TrialState as State
        from optuna.trial import create_trial

        study = self.of(cell)
        assert study is not None
        for trial in study.get_trials(deepcopy=False, states=(State.WAITING,)):
            self._take_out(trial)
        known = {trial.user_attrs[KEY]: trial for trial in latest(study)}
        for one in planned:
            before = known.get(one.key)
            if before is None or (is_left_out(before) and before.user_attrs[REASON] != reason):
                own = {**self._attributes(cell, one), LEFT_OUT: True, REASON: reason}
                study.add_trial(create_trial(state=State.FAIL, user_attrs=own))

    def take_out(self, cells: Sequence[Cell]) -> None:
        """Take out the waiting runs that the cells do not plan any more."""
        from optuna.trial import TrialState as State

        planned = {cell.label: cell for cell in cells}
        for own, study in self._all():
            cell = planned.get(own["label"])
            for trial in study.get_trials(deepcopy=False, states=(State.WAITING,)):
                if cell is None or not cell.plans(trial.user_attrs[KEY]):
                    self._take_out(trial)

    def _take_out(self, trial: FrozenTrial) -> None:
        from optuna.trial import TrialState as State

        number = trial._trial_id
        lease = Lease.take(self.lock_of(trial))
        if lease is None:  # another process has just begun it
            return
        if self.storage.get_trial(number).state == State.WAITING:
            self.storage.set_trial_user_attr(number, KEY, None)
            self.storage.set_trial_user_attr(number, REASON, "taken out of the sweep file")
            self.storage.set_trial_state_values(number, State.FAIL)
        lease.release()

    def enqueue(self, cell: Cell, planned: Planned) -> None:
        """Put a run in, waiting."""
        study, params = self.of(cell), planned.params
        assert study is not None
        own = self._attributes(cell, planned)
        study.enqueue_trial({} if params is None else fixed(cell, params), user_attrs=own)

    @staticmethod
    def _attributes(cell: Cell, planned: Planned) -> dict[str, Any]:
        own = {KEY: planned.key, SEED: planned.seed, RUN: f"{cell.folder}/{planned.folder}"}
        return own if planned.params is None else {**own, PARAMS: dict(planned.params)}

    def records(self) -> list[TrialRecord]:
        """All trials of the sweep; of a run that was tried again, the last time."""
        found = sorted(self._all(), key=lambda one: int(one[0]["number"]))
        return [self._record(cell, trial) for cell, study in found for trial in latest(study)]

    def _all(self) -> Iterator[tuple[dict[str, Any], Study]]:
        """What is noted of each cell that the sweep has ever had, and its study."""
        from optuna.study import get_all_study_summaries, load_study

        for summary in get_all_study_summaries(self.storage):
            cell = summary.user_attrs.get(CELL)
            if isinstance(cell, dict) and cell.get("sweep") == self._name:
                yield cell, load_study(study_name=summary.study_name, storage=self.storage)

    def lock_of(self, trial: FrozenTrial) -> Path:
        """The file of a trial's lease."""
        run = self.folder / str(trial.user_attrs[RUN])
        return run.with_name(f".{run.name}.lock")

    def _study_name(self, cell: Cell) -> str:
        return f"{self._name}: {cell.label}"

    def _record(self, cell: Mapping[str, Any], trial: FrozenTrial) -> TrialRecord:
        own = trial.user_attrs
        stored = own.get(OUTCOME)
        return TrialRecord(
            cell=cell["label"],
            axes=cell["axes"],
            number=trial.number,
            params=own.get(PARAMS) or {},
            ranges=ranges_of(cell["tried"]),
            seed=own[SEED],
            state=self._state(trial),
            reason=own.get(REASON, ""),
            exit_code=own.get(CODE),
            run=self.folder / own[RUN],
            outcome=Outcome() if stored is None else outcome_of(stored),
        )

    def _state(self, trial: FrozenTrial) -> TrialState:
        from optuna.trial import TrialState as State

        if trial.state == State.RUNNING:
            return "running" if is_held(self.lock_of(trial)) else "interrupted"
        if is_left_out(trial):
            return "does not fit"
        names: dict[State, TrialState] = {
            State.WAITING: "waiting", State.COMPLETE: "done", State.PRUNED: "pruned"
        }  # fmt: skip
        return names.get(trial.state, "failed")


def is_left_out(trial: FrozenTrial) -> bool:
    """Whether a trial was never begun, for its cell does not fit."""
    return bool(trial.user_attrs.get(LEFT_OUT))


def latest(study: Study) -> list[FrozenTrial]:
    """The trials of a study; of a run that was tried again, the last time alone."""
    trials = study.get_trials(deepcopy=False)
    own = [trial for trial in trials if trial.user_attrs.get(KEY)]
    return list({trial.user_attrs[KEY]: trial for trial in own}.values())


def _check_unchanged(stored: dict[str, Any], cell: Cell) -> None:
    """Refuse a recipe that would make other runs than those that a cell has."""
    now = cell.config.model_dump(mode="json")
    for key in ("train.seed", *tried_in(cell)):
        _copy(now, stored, key)
    changed = changes(stored, RunConfig.model_validate(now))
    if changed:
        raise UserError(
            f"cell '{cell.label}': its recipe has changed since its first run:"
            f" {'; '.join(changed)}. Put it back, or give the sweep another folder and name."
        )


def _copy(source: Mapping[str, Any], target: dict[str, Any], key: str) -> None:
    """Give a recipe the value that another one has of a key."""
    *sections, last = key.split(".")
    value: Any = source
    for section in sections:
        value = value.get(section) or {}
        target = target.setdefault(section, {})
    if last in value:
        target[last] = value[last]
