"""Colours and marker shapes of the lines of figures.

Colours after Okabe and Ito (2008, https://jfly.uni-koeln.de/color/), which people with any colour
vision tell apart, made darker or lighter until each has a contrast of 3 to 1 (WCAG 2.2, 1.4.11)
with the light and with the dark background.
"""

from __future__ import annotations

LIGHT, DARK = "#ffffff", "#14171c"
COLOURS = ("#0072b2", "#d55e00", "#009070", "#b8609a", "#8a7a00", "#7a7a7a")

# Each shape as matplotlib calls it, and as the path of an SVG around (0, 0), 10 units wide.
SHAPES = (
    ("o", "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0Z"),
    ("s", "M-4.5,-4.5H4.5V4.5H-4.5Z"),
    ("^", "M0,-5.5L5.5,4.5H-5.5Z"),
    ("D", "M0,-6L6,0L0,6L-6,0Z"),
    ("v", "M0,5.5L5.5,-4.5H-5.5Z"),
    ("P", "M-2,-5.5H2V-2H5.5V2H2V5.5H-2V2H-5.5V-2H-2Z"),
    ("X", "M-5.5,-3L-3,-5.5L0,-2.5L3,-5.5L5.5,-3L2.5,0L5.5,3L3,5.5L0,2.5L-3,5.5L-5.5,3L-2.5,0Z"),
)


def colour(number: int) -> str:
    """The colour of a line, by its number."""
    return COLOURS[number % len(COLOURS)]


def shape(number: int) -> int:
    """The number of a line's shape: 42 lines have 42 pairs of colour and shape."""
    return number % len(SHAPES)
