"""A picture of runs: loss, metrics and learning rate by step, a panel each, a colour a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ptv2_scale.history.canvas import Kind, drawing, saved, short
from ptv2_scale.history.curves import Curves, Points
from ptv2_scale.history.palette import SHAPES, colour, shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_ACROSS = 2  # panels in a row


@dataclass(frozen=True)
class _Panel:
    """What one panel shows of each run: a thin line of steps, marked points of evaluations."""

    title: str
    lines: tuple[Points, ...]
    dots: tuple[Points, ...]
    trivial: float | None = None


def draw_runs(curves: Sequence[Curves], kind: Kind) -> bytes:
    """The picture as a file.

    Args:
        curves: of one run at least.
        kind: of the file.

    Raises:
        UserError: matplotlib is not installed.
    """
    with drawing("the curves of runs", "plot"):
        return saved(_figure(curves, _panels(curves)), kind)


def _panels(curves: Sequence[Curves]) -> list[_Panel]:
    none: tuple[Points, ...] = ((),) * len(curves)
    losses = tuple(one.loss for one in curves)
    dots = tuple(one.validation_loss for one in curves)
    names = dict.fromkeys(name for one in curves for name in one.metrics)
    return [
        _Panel("loss (marked: validation)" if any(dots) else "loss", losses, dots),
        *(_metric(curves, name) for name in names),
        _Panel("learning rate", tuple(one.learning_rate for one in curves), none),
    ]


def _metric(curves: Sequence[Curves], name: str) -> _Panel:
    found = {one.trivial for one in curves}
    (trivial,) = found if len(found) == 1 else (None,)
    known = trivial[1] if trivial is not None and trivial[0] == name else None
    points = tuple(one.metrics.get(name, ()) for one in curves)
    return _Panel(f"validation {name}", ((),) * len(curves), points, known)


def _figure(curves: Sequence[Curves], panels: Sequence[_Panel]) -> Figure:
    from matplotlib.figure import Figure

    across = min(_ACROSS, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(6.4 * across, 4.0 * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw(axes, panel, [short(one.label) for one in curves])
    for axes in figure.axes[len(panels) :]:
        axes.set_visible(False)
    return figure


def _draw(axes: Axes, panel: _Panel, labels: Sequence[str]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(short(panel.title))
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles = [_run(axes, panel, number) for number in range(len(labels))]
    named = list(labels)
    if panel.trivial is not None:
        handles.append(axes.axhline(panel.trivial, color="#555555", linestyle=":"))
        named.append("one answer for all")
    if len(named) > 1:
        axes.legend(handles, named, fontsize=8)


def _run(axes: Axes, panel: _Panel, number: int) -> Line2D:
    """Draw one run; gives what stands for it in the legend."""
    line, dots = panel.lines[number], panel.dots[number]
    (thin,) = axes.plot(*_sides(line), color=colour(number), linewidth=1)
    marker, style = SHAPES[shape(number)][0], ":" if line else "-"
    (marked,) = axes.plot(
        *_sides(dots), color=colour(number), marker=marker, markersize=5, linestyle=style
    )
    return marked if dots else thin


def _sides(points: Points) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [value for _, value in points]
