"""Scores of answers against SQuAD's official definition, written out again."""

from __future__ import annotations

import re
import string
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptv2_scale.tasks.span_scores import span_scores


def official_normal(text: str) -> str:
    lowered = "".join(sign for sign in text.lower() if sign not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", lowered).split())


def official_exact(gold: str, given_answer: str) -> float:
    return float(official_normal(gold) == official_normal(given_answer))


def official_f1(gold: str, given_answer: str) -> float:
    wanted, found = official_normal(gold).split(), official_normal(given_answer).split()
    if not wanted or not found:
        return float(wanted == found)
    same = sum((Counter(wanted) & Counter(found)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(found), same / len(wanted)
    return 2 * precision * recall / (precision + recall)


def official(answers: list[str], truth: list[list[str]], compare: Any) -> list[float]:
    scores = []
    for answer, texts in zip(answers, truth, strict=True):
        golds = [text for text in texts if official_normal(text)] or [""]
        scores.append(max(compare(gold, answer) for gold in golds))
    return scores


WORDS = ["the", "a", "Oslo", "oslo,", "Norway", "naïve", "—", "C#", "42", ""]
TEXT = st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join)
ROW = st.tuples(TEXT, st.lists(TEXT, max_size=3), st.floats(-5, 5))


@given(st.lists(ROW, min_size=1, max_size=8, unique_by=lambda row: row[2]))
def test_random_answers(rows: list[tuple[str, list[str], float]]) -> None:
    best, truth, nulls = ([row[n] for row in rows] for n in range(3))
    given_answers = ["" if null > 0 else text for text, null in zip(best, nulls, strict=True)]
    records = [
        {"answer": answer, "best": text, "null_difference": null}
        for answer, text, null in zip(given_answers, best, nulls, strict=True)
    ]
    found = span_scores(records, truth, no_answer=True)
    for name, compare in (("exact", official_exact), ("f1", official_f1)):
        scores = official(given_answers, truth, compare)
        assert found[name] == pytest.approx(sum(scores) / len(rows))
        # The best threshold, by trying every one that makes a difference.
        tried = {}
        for threshold in (-10.0, *nulls):
            kept = ["" if null > threshold else t for t, null in zip(best, nulls, strict=True)]
            answered = [null <= threshold for null in nulls]
            tried[threshold] = [
                value if yes else float([t for t in texts if official_normal(t)] == [])
                for value, yes, texts in zip(
                    official(kept, truth, compare), answered, truth, strict=True
                )
            ]
        top = max(sum(values) for values in tried.values()) / len(rows)
        if not _has_articles_alone(best):
            assert found[f"best_{name}"] == pytest.approx(top)


def _has_articles_alone(texts: list[str]) -> bool:
    """Answers of articles alone count as none where there is none, but not in the search."""
    return any(text and not official_normal(text) for text in texts)


@pytest.mark.parametrize(
    ("answer", "truth", "exact", "f1"),
    [
        ("", [], 1.0, 1.0),
        ("Oslo", [], 0.0, 0.0),
        ("", ["Oslo"], 0.0, 0.0),
        ("the Oslo.", ["Oslo"], 1.0, 1.0),
        ("in Oslo", ["Bergen", "Oslo"], 0.0, 2 / 3),
        ("naïve", ["naive"], 0.0, 0.0),
        ("Denver Broncos", ["The Denver Broncos!", "Denver"], 1.0, 1.0),
    ],
)
def test_by_hand(answer: str, truth: list[str], exact: float, f1: float) -> None:
    found = span_scores([{"answer": answer}], [truth], no_answer=False)
    assert found == pytest.approx({"f1": f1, "exact": exact})


def test_scores_of_questions_with_and_without_answers() -> None:
    """The official script's account of four questions, by hand."""
    records = [
        {"answer": "Oslo", "best": "Oslo", "null_difference": -3.0},
        {"answer": "", "best": "Rome", "null_difference": 2.0},  # has one, and it is Rome
        {"answer": "Bonn", "best": "Bonn", "null_difference": -1.0},  # has none
        {"answer": "", "best": "Bern", "null_difference": 5.0},  # has none
    ]
    found = span_scores(records, [["Oslo"], ["Rome"], [], []], no_answer=True)
    assert found["exact"] == found["f1"] == 0.5
    assert found["has_answer_exact"] == 0.5
    assert found["no_answer_f1"] == 0.5
    # Both orders gain one and lose one: answering the first alone is best, as is answering three.
    assert (found["best_exact"], found["best_exact_threshold"]) == (0.75, -3.0)
    assert (found["best_f1"], found["best_f1_threshold"]) == (0.75, -3.0)
