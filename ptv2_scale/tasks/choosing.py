"""The ways of choosing among candidates: what an answer is, what it scores, what is trivial."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from statistics import mean
from typing import ClassVar

from ptv2_scale.tasks.answers import exact_match, token_f1
from ptv2_scale.tasks.base import Record, Trivial
from ptv2_scale.tasks.metrics import metric_named
from ptv2_scale.tasks.questions import Question

Scores = dict[str, float]


class Choosing(ABC):
    """One way of choosing among a question's candidates.

    Attributes:
        TOGETHER: the candidates of a question compete in one softmax; else each is judged by
            itself, right from a probability of a half.
        METRICS: names of the metrics, the one that chooses the best checkpoint first.
    """

    TOGETHER: ClassVar[bool]
    METRICS: ClassVar[tuple[str, ...]]

    @abstractmethod
    def answer(self, candidates: Sequence[str], probabilities: Sequence[float]) -> Record:
        """The record of a question, from its candidates and their probabilities."""

    @abstractmethod
    def score(self, questions: Sequence[Question], records: Sequence[Record]) -> Scores:
        """Every metric of questions whose right candidates are known."""

    @abstractmethod
    def constant(self, questions: Sequence[Question]) -> dict[str, list[Record]]:
        """Answers that look at no text, by what they always say."""

    def trivial(self, questions: Sequence[Question], metric: str) -> Trivial:
        """The best of the answers that look at no text."""
        made = self.constant(questions).items()
        found = [Trivial(self.score(questions, one)[metric], said) for said, one in made]
        return max(found, key=lambda one: one.value)


def _chosen(candidates: Sequence[str], number: int) -> Record:
    return {"choice": number, "text": candidates[number]}


def _right(question: Question) -> frozenset[int]:
    assert question.right is not None
    return question.right


class ChooseBest(Choosing):
    """The candidate with the largest probability, of which several may be right: ReCoRD's way.

    Attributes:
        TOGETHER: see `Choosing`.
        METRICS: `f1` of words and `em`, both against the nearest of the right answers.
    """

    TOGETHER: ClassVar[bool] = False
    METRICS: ClassVar[tuple[str, ...]] = ("f1", "em")

    def answer(self, candidates: Sequence[str], probabilities: Sequence[float]) -> Record:
        """See `Choosing`."""
        best = max(range(len(probabilities)), key=lambda number: probabilities[number])
        return {**_chosen(candidates, best), "probabilities": list(probabilities)}

    def score(self, questions: Sequence[Question], records: Sequence[Record]) -> Scores:
        """See `Choosing`."""
        pairs = [
            (str(record["text"]), _texts(question))
            for question, record in zip(questions, records, strict=True)
        ]
        return {
            "f1": mean(token_f1(text, truths) for text, truths in pairs),
            "em": mean(exact_match(text, truths) for text, truths in pairs),
        }

    def constant(self, questions: Sequence[Question]) -> dict[str, list[Record]]:
        """The place at which a candidate is right most often, or the last before it."""
        places = Counter(place for question in questions for place in _right(question))
        most = max(sorted(places), key=lambda place: places[place], default=0)
        records = [_chosen(one.candidates, min(most, len(one.candidates) - 1)) for one in questions]
        return {f"always candidate {most}": records}


def _texts(question: Question) -> Sequence[str]:
    """The right answers; without any, only saying nothing would be right."""
    return question.answers or [question.candidates[one] for one in _right(question)] or [""]


class ChooseOne(ChooseBest):
    """The one right candidate, by a softmax over all: COPA's way."""

    TOGETHER: ClassVar[bool] = True
    METRICS: ClassVar[tuple[str, ...]] = ("accuracy",)

    def score(self, questions: Sequence[Question], records: Sequence[Record]) -> Scores:
        """See `Choosing`."""
        pairs = zip(questions, records, strict=True)
        return {"accuracy": mean(float(record["choice"] in _right(one)) for one, record in pairs)}


class ChooseAny(Choosing):
    """Any number of right candidates: MultiRC's way (Khashabi et al., 2018).

    Attributes:
        TOGETHER: see `Choosing`.
        METRICS: `f1a`, of the right candidates over all candidates of all questions; `em`, the
            share of questions whose every candidate is judged rightly.
    """

    TOGETHER: ClassVar[bool] = False
    METRICS: ClassVar[tuple[str, ...]] = ("f1a", "em")

    def answer(self, candidates: Sequence[str], probabilities: Sequence[float]) -> Record:
        """See `Choosing`."""
        chosen = [number for number, one in enumerate(probabilities) if one >= 0.5]
        return {**_several(candidates, chosen), "probabilities": list(probabilities)}

    def score(self, questions: Sequence[Question], records: Sequence[Record]) -> Scores:
        """See `Choosing`."""
        truths, found = [], []
        exact: dict[Hashable, bool] = defaultdict(lambda: True)
        for number, (question, record) in enumerate(zip(questions, records, strict=True)):
            right, chosen = _right(question), set(record["choices"])
            truths += [int(place in right) for place in range(len(question.candidates))]
            found += [int(place in chosen) for place in range(len(question.candidates))]
            exact[number if question.group is None else question.group] &= chosen == right
        f1 = metric_named("f1", classes=2).score(truths, found)
        return {"f1a": f1, "em": mean(map(float, exact.values()))}

    def constant(self, questions: Sequence[Question]) -> dict[str, list[Record]]:
        """All candidates, or none."""
        every = [_several(one.candidates, range(len(one.candidates))) for one in questions]
        none = [_several(one.candidates, ()) for one in questions]
        return {"every candidate": every, "no candidate": none}


def _several(candidates: Sequence[str], numbers: Sequence[int]) -> Record:
    return {"choices": list(numbers), "texts": [candidates[one] for one in numbers]}


CHOOSING: dict[str, Choosing] = {"one": ChooseOne(), "any": ChooseAny(), "best": ChooseBest()}
