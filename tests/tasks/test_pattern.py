"""Patterns: what they hold, and what is refused."""

from __future__ import annotations

import pytest

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.pattern import read_pattern

COLUMNS = ("premise", "a.b", "text")


def test_columns_and_blank_are_filled_and_nothing_else_is_formatted() -> None:
    pattern = read_pattern("{{x}} {premise}: {a.b}? {mask}.", COLUMNS)
    values = {"premise": "{mask} {text.__class__}", "a.b": "%s {0}"}
    assert pattern.filled(values, "[M]") == "{x} {mask} {text.__class__}: %s {0}? [M]."
    assert pattern.before_blank(values) == "{x} {mask} {text.__class__}: %s {0}?"
    assert pattern.columns == ("premise", "a.b")
    assert pattern.columns_behind == ()
    assert pattern.spaced


def test_a_blank_in_the_middle() -> None:
    pattern = read_pattern("{text}{mask}, {premise}", COLUMNS)
    assert pattern.columns_behind == ("premise",)
    assert not pattern.spaced
    assert pattern.before_blank({"text": "so ", "premise": "x"}) == "so"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{text} is", "the blank, stands in it 0 times, not once"),
        ("{mask} {text} {mask}", "stands in it 2 times, not once"),
        ("It was {mask}.", "it names no column; allowed: premise, a.b, text"),
        ("{txt} {mask}", "found {txt}, allowed: {premise}, {a.b}, {text}, {mask}. Did you mean"),
        ("{text.__class__} {mask}", "found {text.__class__}, allowed"),
        ("{text[0]} {mask}", "found {text[0]}, allowed"),
        ("{text!r} {mask}", "found {text!r}, allowed"),
        ("{text:>9999999999} {mask}", "found {text:>9999999999}, allowed"),
        ("{} {mask}", "found {}, allowed"),
        ("{text {mask}", "task.pattern: '{text {mask}'"),
        ("{text} } {mask}", "Write {{ and }} for braces of the text"),
        ("{text} {mask", "Write {{ and }}"),
    ],
)
def test_patterns_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_pattern(text, COLUMNS)
    assert message in str(caught.value)


def test_a_column_that_is_called_as_the_blank_is() -> None:
    with pytest.raises(UserError, match="a column is called so too"):
        read_pattern("{mask} {text}", ("text", "mask"))
