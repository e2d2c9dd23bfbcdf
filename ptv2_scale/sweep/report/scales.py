"""Axes of figures: where they begin and end, and the numbers on them."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

_MARGIN = 0.06  # of the range of values, at each end


def limits(values: Sequence[float], *, log: bool) -> tuple[float, float]:
    """Where an axis begins and ends: with a margin around some values, and around one alone.

    Args:
        values: that are to be seen; at least one.
        log: whether equal factors are equal distances.
    """
    low, high = min(values), max(values)
    if log:
        low, high = log10(low), log10(high)
    if high - low < 1e-12:
        low, high = low - 0.5, high + 0.5
    margin = _MARGIN * (high - low)
    ends = low - margin, high + margin
    return (10 ** ends[0], 10 ** ends[1]) if log else ends


def ticks(values: Sequence[float], *, log: bool) -> list[float]:
    """Round numbers within the limits of an axis; see `limits`."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    low, high = limits(values, log=log)
    if log:
        found = LogLocator(subs=(1.0, 2.0, 5.0) if high < 100 * low else (1.0,), numticks=9)
        shown = found.tick_values(low, high)
    else:
        shown = MaxNLocator(7, steps=[1, 2, 5, 10]).tick_values(low, high)
    return [float(one) for one in shown if low <= one <= high] or sorted({min(values), max(values)})


def number_words(value: float) -> str:
    """A number on an axis: 350M, 0.05."""
    for factor, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.4g}{letter}"
    return f"{value:.4g}"
