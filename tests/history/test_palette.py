"""Colours that are told apart from both backgrounds, and lines from each other."""

from __future__ import annotations

import pytest

from ptv2_scale.history.palette import COLOURS, DARK, LIGHT, SHAPES, colour, shape


def luminance(text: str) -> float:
    """WCAG 2.2, "relative luminance"."""
    parts = [int(text[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("one", COLOURS)
@pytest.mark.parametrize("background", [LIGHT, DARK])
def test_a_line_has_a_contrast_of_three_to_one(one: str, background: str) -> None:
    low, high = sorted((luminance(one), luminance(background)))
    assert (high + 0.05) / (low + 0.05) >= 3


def test_lines_differ_in_colour_or_shape() -> None:
    lines = {(colour(number), shape(number)) for number in range(len(COLOURS) * len(SHAPES))}
    assert len(lines) == 42
    assert len({shape(number) for number in range(len(COLOURS))}) == len(COLOURS)
