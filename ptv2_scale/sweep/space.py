"""What is tried inside a cell, as Optuna's distributions, and the values that it chooses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.sweep.cells import Cell
from ptv2_scale.sweep.config import Range, Search

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

# What is tried, as JSON: {"low": ..., "high": ..., "log": ...} or {"values": [...]}, by key.
Tried = Mapping[str, Mapping[str, Any]]


def tried_in(cell: Cell) -> dict[str, dict[str, Any]]:
    """What is tried in a cell, as the state keeps it."""
    if cell.search is None:
        return {key: {"values": list(values)} for key, values in cell.grid.items()}
    return {
        key: one.model_dump() if isinstance(one, Range) else {"values": list(one)}
        for key, one in cell.search.keys.items()
    }


def ranges_of(tried: Tried) -> dict[str, tuple[float, float]]:
    """Lowest and highest value of each key that is a number."""
    found = {}
    for key, one in tried.items():
        values = one.get("values") or [one["low"], one["high"]]
        if all(map(_is_number, values)):
            found[key] = (float(min(values)), float(max(values)))
    return found


def sampler_of(cell: Cell) -> BaseSampler:
    """TPE, whose first quarter of trials is random; with a seed of the cell's own."""
    from optuna.samplers import RandomSampler, TPESampler

    if cell.search is None:
        return RandomSampler(seed=0)  # is never asked
    return TPESampler(
        n_startup_trials=max(2, cell.search.trials // 4),
        constant_liar=True,  # trials that run at the same time keep apart
        seed=int(hashlib.sha256(cell.label.encode()).hexdigest()[:8], 16),
    )


def pruner_of(search: Search | None) -> BasePruner:
    """What stops a run early."""
    from optuna.pruners import MedianPruner, NopPruner, SuccessiveHalvingPruner

    if search is None or search.prune == "none":
        return NopPruner()
    if search.prune == "median":
        return MedianPruner(n_startup_trials=max(2, search.trials // 4))
    return SuccessiveHalvingPruner()


def choose(study: Study, trial: int, cell: Cell) -> dict[str, Any]:
    """Have Optuna note, and where it is its to do, choose the values of a trial.

    Args:
        study: of the cell.
        trial: which this process has begun; its number in the storage.
        cell: says what is tried.

    Returns:
        Values by key; of a grid, those alone that Optuna notes: its numbers.

    Raises:
        UserError: a key that was searched has other values now.
    """
    from optuna.trial import Trial

    asked = Trial(study, trial)
    found: dict[str, Any] = {}
    try:
        if cell.search is None:
            for key, (low, high) in ranges_of(tried_in(cell)).items():
                found[key] = asked.suggest_float(key, low, high)
            return found
        for key, one in cell.search.keys.items():
            found[key] = _suggest(asked, key, one)
    except ValueError as error:
        raise UserError(
            f"{cell.places[key]}: {key}: has other kinds of values than when the search of"
            f" '{cell.label}' was begun ({error}). Put them back, or begin in another folder."
        ) from None
    return found


def _suggest(trial: Any, key: str, one: Range | list[Any]) -> Any:
    if not isinstance(one, Range):
        texts = [json.dumps(value) for value in one]
        return json.loads(trial.suggest_categorical(key, texts))
    if isinstance(one.low, int) and isinstance(one.high, int):
        return trial.suggest_int(key, one.low, one.high, log=one.log)
    return trial.suggest_float(key, one.low, one.high, log=one.log)


def fixed(cell: Cell, params: Mapping[str, Any]) -> dict[str, Any]:
    """Values that were chosen already, as Optuna is given them."""
    if cell.search is None:
        return {key: float(params[key]) for key in ranges_of(tried_in(cell)) if key in params}
    listed = {key for key, one in cell.search.keys.items() if not isinstance(one, Range)}
    return {key: json.dumps(one) if key in listed else one for key, one in params.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
