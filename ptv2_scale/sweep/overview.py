"""A sweep in words: its cells before the first trial, how far it is, and what went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean

from ptv2_scale.runtime.errors import UserError, printable
from ptv2_scale.runtime.memory import GB
from ptv2_scale.runtime.terminal import columns, duration
from ptv2_scale.sweep.cells import Cell
from ptv2_scale.sweep.flags import flags_of
from ptv2_scale.sweep.planning import CellPlan, Plans
from ptv2_scale.sweep.records import TrialRecord, TrialState, best_params, by_cell, show

_SHOWN = 20
_LARGE: TrialState = "does not fit"


def plan_table(cells: Sequence[Cell], plans: Plans, left_out: Mapping[str, str]) -> str:
    """The cells of a sweep: trials, parameters, memory, and of what is not known, why.

    Args:
        cells: of the sweep.
        plans: what they take.
        left_out: labels of cells that do not fit, with the reason.
    """
    rows = [("cell", "trials", "parameters", "trained", "GB a rank", "")]
    for cell in cells:
        trials = len(cell.planned)
        more = f"+{len(cell.seeds) - 1}" if cell.search and len(cell.seeds) > 1 else ""
        said = f"does not fit: {left_out[cell.label]}" if cell.label in left_out else ""
        rows.append((cell.label, f"{trials}{more}", *_plan_words(plans[cell.label]), said))
    return columns(rows)


def _plan_words(plan: CellPlan | UserError) -> tuple[str, str, str]:
    if isinstance(plan, UserError):
        return "not known", str(plan).splitlines()[0], ""
    trained = f"{plan.trained:,} ({plan.trained / plan.parameters:.2%})"
    return f"{plan.parameters:,}", trained, f"{plan.memory / GB:.3f}"


def status_table(records: Sequence[TrialRecord]) -> str:
    """How far each cell is, and its best score over the seeds that it has."""
    states = ["done", "running", "waiting", "failed"]
    states += [_LARGE] if any(one.state == _LARGE for one in records) else []
    rows: list[Sequence[str]] = [("cell", *states, "best", "with")]
    for cell, own in by_cell(records).items():
        counts = count_states(own)
        rows.append((cell, *(str(counts[state]) for state in states), *best_words(own)))
    return columns(rows)


def count_states(records: Iterable[TrialRecord]) -> Counter[str]:
    """Number of trials by state: an interrupted one waits, one that was pruned is done."""
    merged = {"interrupted": "waiting", "pruned": "done"}
    return Counter(merged.get(one.state, one.state) for one in records)


def best_words(records: Sequence[TrialRecord]) -> tuple[str, str]:
    """Best score of a cell, and the values that have it."""
    best = best_params(records)
    if not best:
        return "-", ""
    score = mean(one.score for one in best if one.score is not None)
    seeds = f" (mean of {len(best)} seeds)" if len(best) > 1 else ""
    values = " ".join(f"{key}={show(value)}" for key, value in best[0].params.items())
    return f"{score:.4f}", f"{values}{seeds}".strip()


def problems_of(records: Sequence[TrialRecord]) -> list[str]:
    """Failed trials with their reasons, and what else a reader should know."""
    failed = [one for one in records if one.state == "failed"]
    lines = [f"failed: {one.cell} | {one.name}: {printable(one.reason)}" for one in failed]
    large = {one.cell: one.reason for one in records if one.state == _LARGE}
    lines += [f"{_LARGE}: {cell}: {printable(reason)}" for cell, reason in large.items()]
    flags = [flag for flag in flags_of(records) if flag.kind != "unfinished" or not failed]
    lines += [
        f"{flag.kind}: {' | '.join(filter(None, (flag.cell, flag.trial)))}: {flag.text}"
        for flag in flags
    ]
    more = [f"... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return [*lines[:_SHOWN], *more]


def seconds_left(records: Sequence[TrialRecord], at_once: int) -> float | None:
    """Seconds that a sweep still takes, by the mean time of a cell's runs; None: not known."""
    times = {
        cell: [one.outcome.seconds for one in own if one.outcome.seconds is not None]
        for cell, own in by_cell(records).items()
    }
    every = [value for values in times.values() for value in values]
    if not every:
        return None
    left = [one for one in records if one.state in ("waiting", "running", "interrupted")]
    return sum(mean(times[one.cell] or every) for one in left) / max(1, at_once)


def progress_line(records: Sequence[TrialRecord], at_once: int) -> str:
    """How far the sweep is, in one line."""
    counts = count_states(records)
    planned = len(records) - counts[_LARGE]
    parts = [f"{counts['done']} of {planned} done", f"{counts['running']} running"]
    if counts[_LARGE]:
        parts.append(f"{counts[_LARGE]} do not fit")
    if counts["failed"]:
        parts.append(f"{counts['failed']} failed")
    best = max((one for one in records if one.score is not None), key=_score, default=None)
    if best is not None:
        parts.append(f"best {best.outcome.metric} {best.score:.4f} ({best.cell})")
    left = seconds_left(records, at_once)
    if left:
        parts.append(f"about {duration(left)} left")
    return ", ".join(parts)


def _score(record: TrialRecord) -> float:
    return record.score if record.score is not None else float("-inf")
