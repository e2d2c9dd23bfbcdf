"""Tables and times for a terminal."""

from __future__ import annotations

from ptv2_scale.runtime.terminal import columns, duration


def test_words_stand_below_each_other_without_spaces_at_the_end() -> None:
    assert columns([("cell", "best", ""), ("a", "0.5", ""), ("longer", "", "x")]) == (
        "cell    best\na       0.5\nlonger        x"
    )


def test_times_are_said_in_seconds_minutes_or_hours() -> None:
    assert [duration(one) for one in (45, 720, 12600)] == ["45 s", "12 min", "3.5 h"]
