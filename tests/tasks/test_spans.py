"""From scores of tokens to an answer, against every pair of tokens tried one by one."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
import torch

from ptv2_scale.tasks.contexts import ContextWindow, TokenizedContext
from ptv2_scale.tasks.spans import Scored, best_spans, row_record, window_record

TEXT = "one two  three four five"
STARTS, ENDS = [0, 4, 8, 9, 15, 20], [3, 7, 8, 14, 19, 24]  # the third token is white space


def window_of(first: int = 0, last: int = 6) -> ContextWindow:
    known = TokenizedContext(TEXT, [7] * 6, array("i", STARTS), array("i", ENDS))
    return ContextWindow(known, first, last, place=4, null=0)


def every_span(outputs: Any, window: ContextWindow, longest: int) -> list[Scored]:
    found = []
    for one in range(window.first, window.last):
        for two in range(one, min(one + longest, window.last)):
            if 2 not in (one, two):
                place = window.place - window.first
                score = float(outputs[place + one, 0] + outputs[place + two, 1])
                found.append(Scored(score, STARTS[one], ENDS[two]))
    return sorted(found, key=lambda span: -span.score)


@pytest.mark.parametrize("longest", [1, 3, 30])
def test_the_best_spans_are_the_best_of_all(longest: int) -> None:
    generator = torch.Generator().manual_seed(longest)
    for window in (window_of(), window_of(2, 6)):
        outputs = torch.randn(12, 2, generator=generator)
        outputs[:4] += 9  # the question's tokens are no answer, whatever their scores
        outputs[4 + window.last - window.first :] += 9  # nor is padding
        expected = every_span(outputs, window, longest)
        found = best_spans(outputs, window, 20, longest)
        assert [one[1:] for one in found] == [one[1:] for one in expected[:20]]
        assert [one.score for one in found] == pytest.approx([one.score for one in expected[:20]])


def test_texts_are_cut_from_the_context_by_characters() -> None:
    outputs = torch.zeros(10, 2)
    outputs[4 + 1, 0], outputs[4 + 3, 1], outputs[0] = 5.0, 4.0, torch.tensor([1.0, 2.0])
    record = window_record(outputs, window_of(), 20, 30)
    assert record["spans"][0] == {"score": 9.0, "start": 4, "end": 14, "text": "two  three"}
    assert record["null"] == 3.0
    answer = row_record([record], 20, False, 0.0)
    assert (answer["answer"], answer["start"]) == ("two  three", 4)
    assert sum(one["probability"] for one in answer["n_best"]) == pytest.approx(1.0)


def span(score: float, start: int, end: int) -> dict[str, Any]:
    return {"score": score, "start": start, "end": end, "text": TEXT[start:end]}


WINDOWS = [
    {"spans": [span(4.0, 4, 7), span(1.0, 0, 3)], "null": 7.0},
    {"spans": [span(3.0, 4, 7), span(2.0, 15, 19)], "null": 5.0},
]


@pytest.mark.parametrize(
    ("threshold", "answer"), [(0.0, ""), (0.9, ""), (1.0, "two"), (2.0, "two")]
)
def test_no_answer_is_as_likely_as_its_least_willing_window_says(
    threshold: float, answer: str
) -> None:
    found = row_record(WINDOWS, 20, True, threshold)
    assert found["answer"] == answer
    assert found["null_difference"] == 1.0  # 5 of the second window, less 4 of the first
    assert found["best"] == "two"
    assert [one["text"] for one in found["n_best"]] == ["two", "four", "one"]
    assert row_record(WINDOWS, 20, False, 0.0)["answer"] == "two"


def test_a_window_of_white_space_has_no_answer() -> None:
    record = window_record(torch.zeros(9, 2), window_of(2, 3), 20, 30)
    assert record["spans"] == []
    assert row_record([record], 20, True, 0.0)["answer"] == ""
    assert row_record([record], 20, False, 0.0)["answer"] == ""
