"""Answers as texts, against values counted by hand after SQuAD's definition."""

from __future__ import annotations

import pytest

from ptv2_scale.tasks.answers import exact_match, normalised, token_f1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Cat's hat.", "cats hat"),
        ("a man, an apple", "man apple"),
        ("Athena", "athena"),
        ("U.S.-led", "usled"),
        ("The", ""),
        ("", ""),
    ],
)
def test_normalised(text: str, expected: str) -> None:
    assert normalised(text) == expected


@pytest.mark.parametrize(
    ("answer", "truths", "exact", "f1"),
    [
        ("the Olimpija Ljubljana", ["Olimpija Ljubljana!"], 1.0, 1.0),
        ("Ljubljana", ["Olimpija Ljubljana", "Maribor"], 0.0, 2 / 3),
        ("Maribor", ["Olimpija Ljubljana", "Maribor"], 1.0, 1.0),
        ("b b c", ["b c c"], 0.0, 2 / 3),  # b and c once each, of three and three
        ("x", ["y"], 0.0, 0.0),
        ("The", [""], 1.0, 1.0),
        ("x", [""], 0.0, 0.0),
    ],
)
def test_the_nearest_right_answer_counts(
    answer: str, truths: list[str], exact: float, f1: float
) -> None:
    assert exact_match(answer, truths) == exact
    assert token_f1(answer, truths) == pytest.approx(f1)
