"""Files of SQuAD: articles of paragraphs of questions, as rows of one question each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ptv2_scale.data.formats import Record, TableFormat
from ptv2_scale.data.json_documents import read_document, read_json_rows
from ptv2_scale.runtime.errors import UserError


def read_squad(path: Path, table: TableFormat) -> Iterator[Record]:
    """Rows of id, question, context and answers, as the hub has them.

    Where a question says nothing of answers, as in a test file, the row has none. A file that is a
    list holds such rows already. `table` has no meaning here.

    Raises:
        UserError: it is no JSON, or a part of SQuAD's is missing; names it.
    """
    document = read_document(path)
    if isinstance(document, list):
        yield from read_json_rows(path, table)
        return
    yield from enumerate(_rows(document, str(path)), start=1)


def _rows(document: Any, place: str) -> Iterator[dict[str, object]]:
    for article, in_article in _parts(document, "data", place):
        for paragraph, in_paragraph in _parts(article, "paragraphs", in_article):
            context = _value(paragraph, "context", str, in_paragraph)
            for question, in_question in _parts(paragraph, "qas", in_paragraph):
                yield {
                    "id": str(question.get("id", "")),
                    "title": str(article.get("title", "")),
                    "context": context,
                    "question": _value(question, "question", str, in_question),
                    **_answers(question, in_question),
                }


def _answers(question: dict[str, Any], place: str) -> dict[str, object]:
    if question.get("is_impossible") is True:
        return {"answers": {"text": [], "answer_start": []}}
    if "answers" not in question:
        return {}
    found = list(_parts(question, "answers", place))
    texts = [_value(answer, "text", str, inside) for answer, inside in found]
    starts = [_value(answer, "answer_start", int, inside) for answer, inside in found]
    return {"answers": {"text": texts, "answer_start": starts}}


def _parts(whole: Any, key: str, place: str) -> Iterator[tuple[dict[str, Any], str]]:
    for number, part in enumerate(_value(whole, key, list, place)):
        inside = f"{place}: {key}[{number}]" if key == "data" else f"{place}.{key}[{number}]"
        if not isinstance(part, dict):
            raise UserError(f"{inside}: found {part!r:.60}, expected a JSON object")
        yield part, inside


def _value(whole: Any, key: str, kind: type, place: str) -> Any:
    found = whole.get(key) if isinstance(whole, dict) else None
    if not isinstance(found, kind):
        raise UserError(f"{place}: '{key}' is {found!r:.60}, which is not as in SQuAD's files")
    return found
