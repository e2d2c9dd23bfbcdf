"""Metrics of chosen candidates, against scikit-learn and questions counted by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from sklearn.metrics import f1_score

from ptv2_scale.tasks.base import Trivial
from ptv2_scale.tasks.choosing import CHOOSING
from ptv2_scale.tasks.questions import Question


def question(
    candidates: str, right: Sequence[int], answers: tuple[str, ...] = (), group: object = None
) -> Question:
    texts = tuple(candidates.split(" | "))
    return Question(texts, ((),) * len(texts), frozenset(right), answers, group)


def judged(*numbers: int) -> dict[str, object]:
    return {"choices": list(numbers)}


def test_f1a_is_over_all_candidates_and_em_by_question() -> None:
    source = random.Random(4)
    questions, records, truths, found, exact = [], [], [], [], 0
    for _ in range(200):
        size = source.randint(1, 6)
        truth = [source.randint(0, 1) for _ in range(size)]
        guess = [one if source.random() < 0.8 else 1 - one for one in truth]
        names = " | ".join(map(str, range(size)))
        questions.append(question(names, [n for n, one in enumerate(truth) if one]))
        records.append(judged(*(n for n, one in enumerate(guess) if one)))
        truths += truth
        found += guess
        exact += truth == guess
    scores = CHOOSING["any"].score(questions, records)
    assert scores["f1a"] == pytest.approx(f1_score(truths, found))
    assert scores["em"] == exact / 200


def test_a_question_without_a_right_candidate() -> None:
    questions = [question("a | b", []), question("c | d", [0, 1])]
    choose = CHOOSING["any"]
    assert choose.score(questions, [judged(), judged(0, 1)]) == {"f1a": 1.0, "em": 1.0}
    assert choose.score(questions, [judged(0), judged(0, 1)]) == {"f1a": 0.8, "em": 0.5}
    assert choose.score(questions[:1], [judged()]) == {"f1a": 0.0, "em": 1.0}  # no right answer


def test_a_question_in_several_rows_is_judged_whole() -> None:
    questions = [question(one, right, group=(3, 1)) for one, right in (("a", [0]), ("b", []))]
    assert CHOOSING["any"].score(questions, [judged(0), judged(0)])["em"] == 0.0
    assert CHOOSING["any"].score(questions, [judged(0), judged()])["em"] == 1.0


def test_the_best_candidate_against_several_answers() -> None:
    questions = [
        question("Paris | the U.S. | Kiev", [1], ("the U.S.", "United States")),
        question("New York City | Rome", [0], ("New York",)),
    ]
    choose = CHOOSING["best"]
    records = [
        choose.answer(one.candidates, probabilities)
        for one, probabilities in zip(questions, ([0.2, 0.9, 0.1], [0.4, 0.3]), strict=True)
    ]
    assert records[0] == {"choice": 1, "text": "the U.S.", "probabilities": [0.2, 0.9, 0.1]}
    assert choose.score(questions, records) == {"f1": pytest.approx((1 + 0.8) / 2), "em": 0.5}


def test_answers_of_each_way() -> None:
    texts = ("a", "b", "c")
    assert CHOOSING["one"].answer(texts, [0.2, 0.5, 0.3])["choice"] == 1
    assert CHOOSING["any"].answer(texts, [0.5, 0.4, 0.9]) == {
        "choices": [0, 2], "texts": ["a", "c"], "probabilities": [0.5, 0.4, 0.9],
    }  # fmt: skip
    assert CHOOSING["any"].answer(texts, [0.1, 0.4, 0.3])["choices"] == []


def test_what_learning_nothing_scores() -> None:
    one = [question("a | b", [0]), question("a | b | c", [2]), question("a | b | c", [2])]
    assert CHOOSING["one"].trivial(one, "accuracy") == Trivial(2 / 3, "always candidate 2")
    best = [question("a | b", [1]), question("a", [0]), question("a | b", [1])]
    assert CHOOSING["best"].trivial(best, "em") == Trivial(1.0, "always candidate 1")
    several = [question("a | b", []), question("c | d", [0])]
    assert CHOOSING["any"].trivial(several, "f1a") == Trivial(0.4, "every candidate")
    assert CHOOSING["any"].trivial(several, "em") == Trivial(0.5, "no candidate")
