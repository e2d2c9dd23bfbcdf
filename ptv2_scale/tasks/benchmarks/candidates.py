"""SuperGLUE's rows with candidates, as its files and the hub have them; texts as P-Tuning v2's.

P-Tuning v2's official code joins COPA's premise with "because" or "so" and reads each of the two
choices behind it, MultiRC's question and answer behind the passage. ReCoRD puts an entity in place
of the placeholder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ptv2_scale.data.rows import PlacedRow, require_columns, text_of
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.answers import normalised
from ptv2_scale.tasks.questions import (
    Question,
    filled,
    inner,
    inner_rows,
    items,
    right_of,
    truth_of,
)

_JOINERS = {"cause": "because", "effect": "so"}
_CHOICES = {"0": 0, "1": 1, "choice1": 0, "choice2": 1}  # the hub's names are its classes'
PLACEHOLDER = "@placeholder"
# ReCoRD's passages end with highlights, each behind this line; T5 reads them as sentences, too.
_HIGHLIGHT = re.compile(r"([.?!\"'])?\n@highlight\n")


def copa(row: PlacedRow) -> list[Question]:
    """COPA's question; see `ReadQuestions`."""
    asked = filled(row, "question")
    if asked not in _JOINERS:
        raise UserError(f"{row.place}: found the question '{asked:.60}', allowed: cause, effect")
    premise = f"{filled(row, 'premise')} {_JOINERS[asked]}"
    candidates = (filled(row, "choice1"), filled(row, "choice2"))
    texts = tuple((("premise", premise), ("choice", one)) for one in candidates)
    return [Question(candidates, texts, _copa_right(row))]


def _copa_right(row: PlacedRow) -> frozenset[int] | None:
    found = row.get("label")
    if found is None:
        return None
    if str(found) not in _CHOICES:
        raise UserError(f"{row.place}: found the label {found!r:.60}, allowed: 0, 1")
    return frozenset({_CHOICES[str(found)]})


def multirc(row: PlacedRow) -> list[Question]:
    """The questions of a passage; of the hub's rows one answer each. See `ReadQuestions`."""
    if "paragraph" in row:
        return [_hub_multirc(row)]
    passage = inner(row, "passage")
    text = filled(passage, "text")
    return [_multirc_question(text, one) for one in inner_rows(passage, "questions")]


def _multirc_question(passage: str, row: PlacedRow) -> Question:
    question, answers = filled(row, "question"), inner_rows(row, "answers")
    # A few of the published answers are empty.
    candidates = tuple(text_of(answer, "text", 0) for answer in answers)
    right = right_of([truth_of(answer, "label") for answer in answers], row.place)
    return Question(candidates, _multirc_texts(passage, question, candidates), right)


def _hub_multirc(row: PlacedRow) -> Question:
    passage, question = filled(row, "paragraph"), filled(row, "question")
    candidates = (text_of(row, "answer", 0),)
    place = inner(row, "idx")
    group = (place.get("paragraph"), place.get("question"))
    right = right_of([truth_of(row, "label")], row.place)
    texts = _multirc_texts(passage, question, candidates)
    return Question(candidates, texts, right, group=group)


def _multirc_texts(
    passage: str, question: str, candidates: tuple[str, ...]
) -> tuple[tuple[tuple[str, str], ...], ...]:
    return tuple(
        (("paragraph", passage), ("question", question), ("answer", one)) for one in candidates
    )


def record(row: PlacedRow) -> list[Question]:
    """The queries of a passage, of which the hub's rows have one; see `ReadQuestions`."""
    if isinstance(row.get("passage"), str):
        entities = list(dict.fromkeys(map(str, items(row, "entities"))))
        answers = row.get("answers")
        known = [str(one) for one in answers] if isinstance(answers, list) and answers else None
        return [_query(filled(row, "passage"), entities, row, known)]
    passage = inner(row, "passage")
    text, entities = filled(passage, "text"), _entities(passage)
    return [_query(text, entities, one, _answers(one)) for one in inner_rows(row, "qas")]


def _entities(passage: PlacedRow) -> list[str]:
    """The texts of a passage's entities, each once, in their order."""
    text = filled(passage, "text")
    found = inner_rows(passage, "entities")
    spans = sorted(_span(one, len(text)) for one in found)
    return list(dict.fromkeys(text[start : end + 1] for start, end in spans))


def _span(entity: PlacedRow, length: int) -> tuple[int, int]:
    start, end = entity.get("start"), entity.get("end")
    if isinstance(start, int) and isinstance(end, int) and 0 <= start <= end < length:
        return start, end
    raise UserError(
        f"{entity.place}: found start {start!r:.20} and end {end!r:.20}, expected the first and the"
        f" last character of an entity in a passage of {length}."
    )


def _answers(row: PlacedRow) -> list[str] | None:
    if not row.get("answers"):
        return None
    return [filled(answer, "text") for answer in inner_rows(row, "answers")]


def _query(
    passage: str, entities: list[str], row: PlacedRow, answers: list[str] | None
) -> Question:
    query = filled(row, "query")
    if PLACEHOLDER not in query:
        raise UserError(f"{row.place}: the query has no {PLACEHOLDER}: {query:.60}")
    sentences = _HIGHLIGHT.sub(lambda found: f"{found[1] or '.'} ", passage)
    texts = tuple(
        (("passage", sentences), ("query", query.replace(PLACEHOLDER, entity)))
        for entity in entities
    )
    return Question(tuple(entities), texts, _named_by(answers, entities), tuple(answers or ()))


def _named_by(answers: list[str] | None, entities: list[str]) -> frozenset[int] | None:
    """The entities that the metric would take for one of the answers."""
    if answers is None:
        return None
    right = set(map(normalised, answers))
    return frozenset(n for n, entity in enumerate(entities) if normalised(entity) in right)


def submit_copa(row: PlacedRow, record: Mapping[str, Any]) -> list[dict[str, object]]:
    """COPA's line of a submission."""
    return [{"idx": _number(row), "label": record["choice"]}]


def submit_multirc(row: PlacedRow, record: Mapping[str, Any]) -> list[dict[str, object]]:
    """The line of a passage of MultiRC, with a label for every answer to every question."""
    asked = inner_rows(inner(row, "passage"), "questions")
    questions = []
    for question, found in zip(asked, record["questions"], strict=True):
        right = set(found["choices"])
        answers = [
            {"idx": _number(answer), "label": int(place in right)}
            for place, answer in enumerate(inner_rows(question, "answers"))
        ]
        questions.append({"idx": _number(question), "answers": answers})
    return [{"idx": _number(row), "passage": {"questions": questions}}]


def submit_record(row: PlacedRow, record: Mapping[str, Any]) -> list[dict[str, object]]:
    """The lines of the queries of a passage of ReCoRD."""
    pairs = zip(inner_rows(row, "qas"), record["questions"], strict=True)
    return [{"idx": _number(query), "label": found["text"]} for query, found in pairs]


def _number(row: PlacedRow) -> object:
    require_columns(row, ("idx",), row.place)
    return row["idx"]
