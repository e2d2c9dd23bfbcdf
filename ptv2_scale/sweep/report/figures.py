"""Figures as PNG and SVG by matplotlib; a sweep's figures are the same bytes each time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ptv2_scale.history.canvas import METADATA, drawing, saved, short
from ptv2_scale.history.palette import LIGHT, SHAPES, colour, shape
from ptv2_scale.sweep.report.plots import Line, Panel, Plot
from ptv2_scale.sweep.report.scales import limits, number_words, ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACROSS = 2  # panels in a row


def draw(plot: Plot) -> dict[str, bytes]:
    """A figure's files by their names.

    Raises:
        UserError: matplotlib is not installed.
    """
    with drawing("a report's figures", "sweep"):
        figure = _figure(plot)
        return {f"{plot.name}.{kind}": saved(figure, kind) for kind in METADATA}


def _figure(plot: Plot) -> Figure:
    from matplotlib.figure import Figure

    across = min(_ACROSS, len(plot.panels))
    down = -(-len(plot.panels) // across)
    figure = Figure(figsize=(6.4 * across, 4.4 * down), layout="constrained")
    figure.suptitle(plot.title)
    numbers = line_numbers(plot)
    named: dict[str, Any] = {}
    for axes, panel in zip(
        figure.subplots(down, across, squeeze=False).flat, plot.panels, strict=False
    ):
        named |= _panel(axes, plot, panel, numbers)
    # Below all panels, where it hides no point.
    columns = 3 * across
    figure.legend(
        list(named.values()), list(named), loc="outside lower center", ncols=columns, fontsize=8
    )
    for axes in figure.axes[len(plot.panels) :]:
        axes.set_visible(False)
    return figure


def line_numbers(plot: Plot) -> dict[str, int]:
    """The number of each line by its label: a method looks the same in all panels."""
    labels = dict.fromkeys(line.label for panel in plot.panels for line in panel.lines)
    return {label: number for number, label in enumerate(labels)}


def _panel(axes: Axes, plot: Plot, panel: Panel, numbers: Mapping[str, int]) -> dict[str, Any]:
    """Draw a task; returns what a legend names."""
    axes.set_title(short(panel.title))
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(short(panel.metric))
    _places(axes, plot, panel)
    named = {
        short(line.label): _line(axes, line, numbers[line.label], plot.joined)
        for line in panel.lines
    }
    if panel.trivial is not None:
        named["one answer for all"] = axes.axhline(panel.trivial, color="#555555", linestyle=":")
    if panel.frontier:
        places = [*(point.x for point in panel.frontier), axes.get_xlim()[1]]
        means = [point.found.mean for point in (*panel.frontier, panel.frontier[-1])]
        (named["frontier"],) = axes.step(
            places, means, where="post", color="#555555", linestyle="--"
        )
    return named


def _places(axes: Axes, plot: Plot, panel: Panel) -> None:
    """The axis of places, its numbers in words."""
    values = [point.x for line in panel.lines for point in line.points]
    if plot.log:
        axes.set_xscale("log")
    axes.set_xlim(*limits(values, log=plot.log))
    if plot.categories:
        shown = sorted(set(values))
        axes.set_xticks(shown, [short(plot.categories[int(one)]) for one in shown])
    else:
        shown = ticks(values, log=plot.log)
        axes.set_xticks(shown, [number_words(one) for one in shown])
    axes.minorticks_off()


def _line(axes: Axes, line: Line, number: int, joined: bool) -> Any:
    """Draw a line: means over seeds, and the range of several seeds."""
    several = any(len(point.found.scores) > 1 for point in line.points)
    means = [point.found.mean for point in line.points]
    lows = [mean - min(one.found.scores) for mean, one in zip(means, line.points, strict=True)]
    highs = [max(one.found.scores) - mean for mean, one in zip(means, line.points, strict=True)]
    return axes.errorbar(
        [point.x for point in line.points],
        means,
        # A mean may lie outside its own scores by a rounding error.
        yerr=[[max(0.0, low) for low in lows], [max(0.0, high) for high in highs]]
        if several
        else None,
        color=colour(number),
        marker=SHAPES[shape(number)][0],
        markersize=7,
        markeredgecolor=LIGHT,  # tells markers apart that lie on each other
        linestyle="-" if joined else "none",
        capsize=3,
    )
