"""The tables of a report, in the form of the paper's, whatever they are written as."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ptv2_scale.sweep.records import TrialRecord, by_cell
from ptv2_scale.sweep.report.roles import axis_names, axis_of, label_of, other_axes
from ptv2_scale.sweep.report.summary import Summary, summary_of, trivial_score

NONE = "–"


@dataclass(frozen=True)
class Entry:
    """One entry of a table.

    Attributes:
        text: as people read it.
        value: by which a column is sorted; None: nothing, and last.
        deviation: of a mean over seeds.
        cell: the cell of the sweep that it is about.
        best: whether it is the best of its row.
    """

    text: str
    value: float | str | None
    deviation: float | None = None
    cell: str | None = None
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A table whose rows begin with what they are about."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    headings: int = 1  # columns that say what a row is about

    def is_number(self, column: int) -> bool:
        """Whether a column has numbers."""
        found = [row[column].value for row in self.rows if row[column].value is not None]
        return bool(found) and not any(isinstance(value, str) for value in found)


def scores_table(records: Sequence[TrialRecord]) -> Table:
    """Scores at the best hyper-parameters: tasks and backbones below each other, methods beside."""
    names = axis_names(records)
    leading = [axis for role in ("task", "backbone") if (axis := axis_of(role, names)) is not None]
    heading = [*leading, *other_axes(names, "task", "backbone", "method")]
    methods = list(dict.fromkeys(label_of(one, "method") for one in records))
    rows: dict[tuple[str, ...], list[TrialRecord]] = defaultdict(list)
    for one in records:
        rows[tuple(one.axes.get(name, "") for name in heading)].append(one)
    return Table(
        "Score at the best hyper-parameters, mean ± deviation over seeds",
        (*(heading or ["sweep"]), "metric", "trivial", *(method or "score" for method in methods)),
        tuple(_scores_row(key or ("all",), own, methods) for key, own in rows.items()),
        len(heading) or 1,
    )


def _scores_row(
    key: Sequence[str], records: Sequence[TrialRecord], methods: Sequence[str]
) -> tuple[Entry, ...]:
    own = [[one for one in records if label_of(one, "method") == method] for method in methods]
    scores = [score_entry(one) for one in own]
    highest = max((one.value for one in scores if isinstance(one.value, float)), default=None)
    return (
        *map(word, key),
        word(_metric(records)),
        number(trivial_score(records), "{:.3f}"),
        *(replace(one, best=one.value is not None and one.value == highest) for one in scores),
    )


def best_table(records: Sequence[TrialRecord]) -> Table:
    """Each cell's best hyper-parameters, and what they cost."""
    names = axis_names(records)
    columns = ("metric", "score", "seeds", "trivial", "best hyper-parameters", "trained",
               "trained parameters", "seconds", "peak memory", "bytes of the file", "done",
               "failed", "all")  # fmt: skip
    return Table(
        "Best hyper-parameters of each cell, and their cost",
        (*(names or ["sweep"]), *columns),
        tuple(_best_row(names, own) for own in by_cell(records).values()),
        len(names) or 1,
    )


def _best_row(names: Sequence[str], records: Sequence[TrialRecord]) -> tuple[Entry, ...]:
    found, states = summary_of(records), Counter(one.state for one in records)
    axes = [word(records[0].axes.get(name, "")) for name in names] or [word("all")]
    return (
        *(*axes, word(_metric(records)), score_entry(records)),
        number(len(found.scores) if found else None),
        number(trivial_score(records), "{:.3f}"),
        *_costs(found),
        *(number(states["done"]), number(states["failed"]), number(len(records))),
    )


def _costs(found: Summary | None) -> tuple[Entry, ...]:
    if found is None:
        return (Entry(NONE, None),) * 6
    return (
        word(found.values),
        number(found.trained_share, "{:.3%}"),
        number(found.outcome.trained_parameters, "{:,}"),
        number(found.seconds, "{:,.0f}"),
        number(found.peak_memory_bytes, scale=True),
        number(found.export_bytes, "{:,}"),
    )


def _metric(records: Sequence[TrialRecord]) -> str | None:
    return next((one.outcome.metric for one in records if one.outcome.metric), None)


def score_entry(records: Sequence[TrialRecord]) -> Entry:
    """Mean and deviation over seeds of a cell's best values; without a score, its trials' state."""
    if not records:
        return Entry(NONE, None)
    found, cell = summary_of(records), records[0].cell
    if found is None:
        return Entry(", ".join(sorted({one.state for one in records})), None, cell=cell)
    spread = "" if found.deviation is None else f" ± {found.deviation:.3f}"
    return Entry(f"{found.mean:.3f}{spread}", found.mean, found.deviation, cell)


def word(text: str | None) -> Entry:
    """An entry that is a text."""
    return Entry(text, text) if text else Entry(NONE, None)


def number(value: float | None, form: str = "{}", *, scale: bool = False) -> Entry:
    """An entry that is a number; with `scale`, of bytes."""
    if value is None:
        return Entry(NONE, None)
    return Entry(byte_words(value) if scale else form.format(value), value)


def byte_words(count: float) -> str:
    """Bytes as people say them: 1.5 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
