"""Places of everything in the inline SVG of a chart; the page's template draws it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log10

from ptv2_scale.history.canvas import short
from ptv2_scale.history.palette import COLOURS, SHAPES, shape
from ptv2_scale.sweep.records import TrialRecord
from ptv2_scale.sweep.report.figures import line_numbers
from ptv2_scale.sweep.report.plots import Line, Panel, Plot, Point
from ptv2_scale.sweep.report.scales import limits, number_words, ticks

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 624, 16, 344


@dataclass(frozen=True)
class Tick:
    """A place on an axis with its number in words."""

    at: float
    text: str


@dataclass(frozen=True)
class Seed:
    """The score of one run."""

    x: float
    y: float
    text: str
    trial: TrialRecord


@dataclass(frozen=True)
class Dot:
    """A mean over seeds, with the range of its seeds' scores."""

    x: float
    y: float
    low: float
    high: float
    text: str
    cell: str
    seeds: tuple[Seed, ...]


@dataclass(frozen=True)
class Curve:
    """A line of a chart: numbers of its colour and shape, and its dots."""

    label: str
    colour: int
    shape: str
    path: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class Chart:
    """One panel of a plot, in pixels from the upper left."""

    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    curves: tuple[Curve, ...]
    trivial: float | None
    trivial_text: str
    frontier: str


Scale = Callable[[float], float]


def charts_of(plot: Plot) -> list[Chart]:
    """The charts of a plot, one a panel."""
    numbers = line_numbers(plot)
    return [_chart(plot, panel, numbers) for panel in plot.panels]


def _chart(plot: Plot, panel: Panel, numbers: Mapping[str, int]) -> Chart:
    points = [point for line in panel.lines for point in line.points]
    scores = [score for point in points for score in point.found.scores]
    trivial = panel.trivial
    x = scale([point.x for point in points], LEFT, RIGHT, log=plot.log)
    y = scale(scores + ([] if trivial is None else [trivial]), BOTTOM, TOP)
    return Chart(
        title=f"{plot.title}: {panel.title}" if panel.title else plot.title,
        x_label=plot.x_label,
        y_label=panel.metric,
        x_ticks=_x_ticks(plot, [point.x for point in points], x),
        y_ticks=_ticks(scores + ([] if trivial is None else [trivial]), y, log=False),
        curves=tuple(_curve(plot, line, numbers[line.label], x, y) for line in panel.lines),
        trivial=None if trivial is None else y(trivial),
        trivial_text="" if trivial is None else f"one answer for all: {trivial:.4f}",
        frontier=_steps([(x(one.x), y(one.found.mean)) for one in panel.frontier]),
    )


def scale(values: Sequence[float], start: float, end: float, *, log: bool = False) -> Scale:
    """From values to pixels between two ends.

    Args:
        values: that are to be seen.
        start: pixel of the axis's beginning.
        end: pixel of its end.
        log: whether equal factors are equal distances.
    """

    def place(value: float) -> float:
        return log10(value) if log else value

    first, last = map(place, limits(values, log=log))
    return lambda value: round(start + (end - start) * (place(value) - first) / (last - first), 1)


def _x_ticks(plot: Plot, values: Sequence[float], x: Scale) -> tuple[Tick, ...]:
    if plot.categories:
        used = sorted(set(values))
        return tuple(Tick(x(one), short(plot.categories[int(one)])) for one in used)
    return _ticks(values, x, log=plot.log)


def _ticks(values: Sequence[float], at: Scale, *, log: bool) -> tuple[Tick, ...]:
    return tuple(Tick(at(one), number_words(one)) for one in ticks(values, log=log))


def _curve(plot: Plot, line: Line, number: int, x: Scale, y: Scale) -> Curve:
    dots = tuple(_dot(plot, line, point, x, y) for point in line.points)
    path = "M" + "L".join(f"{dot.x},{dot.y}" for dot in dots) if plot.joined else ""
    return Curve(line.label, number % len(COLOURS), SHAPES[shape(number)][1], path, dots)


def _dot(plot: Plot, line: Line, point: Point, x: Scale, y: Scale) -> Dot:
    found = point.found
    place = plot.categories[int(point.x)] if plot.categories else number_words(point.x)
    spread = "" if found.deviation is None else f" ± {found.deviation:.4f}"
    seeds = tuple(
        Seed(x(point.x), y(score), f"{line.label}: {score:.4f} with {trial.name}", trial)
        for trial, score in zip(found.trials, found.scores, strict=True)
    )
    return Dot(
        *(x(point.x), y(found.mean), y(min(found.scores)), y(max(found.scores))),
        f"{line.label}, {place} {plot.x_label}: {found.mean:.4f}{spread}"
        f" ({len(found.scores)} seed{'s' * (len(found.scores) > 1)}; {found.values})",
        found.trials[0].cell,
        seeds,
    )


def _steps(places: Sequence[tuple[float, float]]) -> str:
    """The path of a frontier: what a cost buys, until the next point."""
    if not places:
        return ""
    first, *others = places
    return f"M{first[0]},{first[1]}" + "".join(f"H{x}V{y}" for x, y in others) + f"H{RIGHT}"
