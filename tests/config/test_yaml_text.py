"""The small part of YAML that recipes are written in."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ptv2_scale.config.yaml_text import UnreadableError, parse, write

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("5E+2", 500.0),
        (".5", 0.5),
        ("3", 3),
        ("-3", -3),
        ("012", 12),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("1e-3x", "1e-3x"),
        ("'3'", "3"),
        ("~", None),
        ("null", None),
        ("", None),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = parse(text).value
    assert (found, type(found)) == (value, type(value))


def test_every_key_and_item_has_its_line() -> None:
    document = parse("a:\n  b: 1\n\n  c: [1,\n   2]\nd: {e: 3}\n")
    assert document.lines == {
        (): 1,
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c"): 4,
        ("a", "c", 0): 4,
        ("a", "c", 1): 5,
        ("d",): 6,
        ("d", "e"): 6,
    }


def test_a_repeated_key_is_noted_with_both_lines() -> None:
    assert parse("a:\n  b: 1\n  c: 2\n  b: 3\n").repeated == [(("a", "b"), 2, 4)]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: &x 1\nb: *x", 2, "alias"),
        ("a: !!python/object/apply:os.system ['true']", 1, "tag"),
        ("a: 1\nb: !!str 3", 2, "tag"),
        ("a:\n- ! 3", 2, "tag"),
        ("[" * 1000, 1, "levels deep"),
        ("- " * 1000, 1, "levels deep"),
        ("a: 1\n? [b]\n: 2", 2, "a key must be a word"),
        ("a: 1\n\x00", 2, r"U\+0000"),
        ("a: 1\nb: [", 2, "expected the node content"),
        ("a: 1\n\tb: 2", 2, "cannot start any token"),
        ("a: 1\n---\nb: 2", 2, "single document"),
        (r'a: "\UFFFFFFFF"', 1, "out of range"),
        ('a: 1\nb: "\\ud800"', 2, "surrogate"),
        ("%YAML 1." + "9" * 5000 + "\n---\na: 1", 1, "out of range"),
    ],
)
def test_what_is_refused(text: str, line: int, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason) as caught:
        parse(text)
    assert caught.value.line == line


@given(PLAIN)
def test_what_is_written_is_read_back(value: object) -> None:
    text = write(value)
    assert parse(text).value == value
    assert yaml.safe_load(text) == value


@pytest.mark.parametrize(
    "text", ["a\x85b", "\x85", "\u2028 ", "a\nb", "\ufeff", "yes", "1e-3", "1:30"]
)
def test_text_that_yaml_is_apt_to_change(text: str) -> None:
    assert parse(write([text])).value == [text]
    assert yaml.safe_load(write([text])) == [text]


@given(st.text() | st.text("[]{}:,-?&*!|>'\"%@#\n\t ab1"))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except UnreadableError:
        return
