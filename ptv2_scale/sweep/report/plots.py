"""What the figures of a report show, as numbers: the same for files and for the HTML page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ptv2_scale.sweep.records import TrialRecord, show
from ptv2_scale.sweep.report.roles import (
    Role,
    axis_names,
    axis_of,
    label_of,
    labels_of,
    other_axes,
)
from ptv2_scale.sweep.report.summary import Summary, summary_of, trivial_score


@dataclass(frozen=True)
class Point:
    """Mean score over seeds at one place.

    Attributes:
        x: the place, in the plot's unit; of categories, their number.
        found: the best hyper-parameters there, with a score for each seed.
    """

    x: float
    found: Summary


@dataclass(frozen=True)
class Line:
    """The points of one method (and other labels), by place."""

    label: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Panel:
    """One task of a plot.

    Attributes:
        title: the task; empty: the sweep has one alone.
        metric: name of the score.
        trivial: score of always giving one answer; None: not known.
        lines: of all methods.
        frontier: points that no other one is both cheaper and better than; empty: not asked for.
    """

    title: str
    metric: str
    trivial: float | None
    lines: tuple[Line, ...]
    frontier: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Plot:
    """A figure: a panel for each task.

    Attributes:
        name: of its files.
        title: what it shows.
        x_label: what the places are, with the unit.
        log: whether places are on a logarithmic axis.
        joined: whether the points of a line are joined.
        categories: names of the places 0, 1, ...; empty: places are numbers.
        panels: by task.
    """

    name: str
    title: str
    x_label: str
    log: bool
    joined: bool
    categories: tuple[str, ...]
    panels: tuple[Panel, ...]

    @property
    def varies(self) -> bool:
        """Whether a panel has several places: there is something to be seen."""
        return any(
            len({point.x for line in panel.lines for point in line.points}) > 1
            for panel in self.panels
        )


Place = Callable[[TrialRecord], float | None]


def plots_of(records: Sequence[TrialRecord]) -> list[Plot]:
    """The figures of a sweep, those alone whose places differ."""
    every = (
        _by_size(records),
        _by_setting(records, "length", "Score against prefix length", "prefix length (tokens)"),
        _by_setting(records, "depth", "Score against depth", "prompted layers"),
        _by_share(records),
        _by_cost(records),
    )
    return [plot for plot in every if plot.varies]


def _by_size(records: Sequence[TrialRecord]) -> Plot:
    names = other_axes(axis_names(records), "task", "backbone")
    panels = _panels(records, names, _backbone_sizes(records))
    title, x_label = "Score against backbone size", "parameters of the backbone"
    return Plot("score-by-size", title, x_label, True, True, (), panels)


def _backbone_sizes(records: Sequence[TrialRecord]) -> Place:
    """Parameters of a trial's backbone: those that are frozen.

    Fine-tuning freezes none: its backbone is as large as it is with another method, or else as all
    that is trained.
    """
    frozen: dict[str, int] = defaultdict(int)
    for one in records:
        if label := label_of(one, "backbone"):
            frozen[label] = max(frozen[label], one.outcome.backbone_parameters or 0)

    def place(one: TrialRecord) -> float | None:
        own = one.outcome.backbone_parameters
        known = own or frozen.get(label_of(one, "backbone")) or one.outcome.all_parameters
        return None if own is None else known

    return place


def _by_setting(records: Sequence[TrialRecord], role: Role, title: str, x_label: str) -> Plot:
    """Against a recipe's key that is an axis, or is tried inside cells."""
    values = list(dict.fromkeys(value for one in records if (value := _setting(one, role))))
    numbers = {value: number for value in values if (number := _number(value)) is not None}
    categories = () if len(numbers) == len(values) else tuple(values)
    places = {value: float(n) for n, value in enumerate(values)} if categories else numbers

    names = other_axes(axis_names(records), "task", role)
    panels = _panels(records, names, lambda one: places.get(_setting(one, role)))
    log = not categories and bool(numbers) and min(numbers.values()) > 0
    return Plot(f"score-by-{role}", title, x_label, log, True, categories, panels)


def _by_share(records: Sequence[TrialRecord]) -> Plot:
    def place(one: TrialRecord) -> float | None:
        trained, every = one.outcome.trained_parameters, one.outcome.all_parameters
        return 100 * trained / every if trained and every else None

    title, x_label = "Score against trained share", "trained parameters (% of all)"
    panels = _panels(records, _methods(records), place)
    return Plot("score-by-share", title, x_label, True, False, (), panels)


def _by_cost(records: Sequence[TrialRecord]) -> Plot:
    # A cell is one place: runs of one recipe take different times.
    cells: dict[str, list[TrialRecord]] = defaultdict(list)
    for one in records:
        cells[one.cell].append(one)
    found = {cell: summary_of(own) for cell, own in cells.items()}
    seconds = {cell: one.seconds for cell, one in found.items() if one is not None}
    panels = _panels(records, _methods(records), lambda one: seconds.get(one.cell) or None)
    return Plot(
        "score-by-cost",
        "Score against cost, with the frontier",
        "wall-clock time of a run (s)",
        *(True, False, ()),
        tuple(_with_frontier(panel) for panel in panels),
    )


def _methods(records: Sequence[TrialRecord]) -> list[str]:
    """The axis of methods; where there is none, all but the task's."""
    names = axis_names(records)
    method = axis_of("method", names)
    return other_axes(names, "task") if method is None else [method]


def _panels(
    records: Sequence[TrialRecord], names: Sequence[str], place: Place
) -> tuple[Panel, ...]:
    tasks: dict[str, list[TrialRecord]] = defaultdict(list)
    for one in records:
        tasks[label_of(one, "task")].append(one)
    panels = (_panel(task, own, names, place) for task, own in tasks.items())
    return tuple(panel for panel in panels if panel.lines)


def _panel(task: str, records: Sequence[TrialRecord], names: Sequence[str], place: Place) -> Panel:
    groups: dict[str, dict[tuple[str, float], list[TrialRecord]]] = defaultdict(dict)
    for one in records:
        x = place(one)
        if x is not None:
            groups[labels_of(one, names)].setdefault((one.cell, float(x)), []).append(one)
    lines = (Line(label, tuple(_points(own))) for label, own in groups.items())
    return Panel(
        task,
        next((one.outcome.metric for one in records if one.outcome.metric), "score"),
        trivial_score(records),
        tuple(line for line in lines if line.points),
    )


def _points(groups: Mapping[tuple[str, float], Sequence[TrialRecord]]) -> Iterator[Point]:
    for (_, x), own in sorted(groups.items(), key=lambda item: item[0][1]):
        found = summary_of(own)
        if found is not None:
            yield Point(x, found)


def _with_frontier(panel: Panel) -> Panel:
    points = [point for line in panel.lines for point in line.points]
    frontier: list[Point] = []
    for point in sorted(points, key=lambda one: (one.x, -one.found.mean)):
        if not frontier or point.found.mean > frontier[-1].found.mean:
            frontier.append(point)
    return Panel(panel.title, panel.metric, panel.trivial, panel.lines, tuple(frontier))


def _setting(one: TrialRecord, role: Role) -> str:
    """A trial's value as people write it; empty: it has none."""
    named = {**{key: show(value) for key, value in one.params.items()}, **one.axes}
    name = axis_of(role, named)
    return "" if name is None else named[name]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
