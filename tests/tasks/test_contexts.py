"""Windows over contexts against those of the tokenizers themselves; characters of tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import RobertaTokenizer

from ptv2_scale.config import Span
from ptv2_scale.data.sources import read_rows
from ptv2_scale.data.squad import read_squad
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.contexts import ContextEncoder

QUESTION = "Where was the naïve   treaty signed?"
CONTEXT = "It was  signed — in Oslo, on a cold day; nobody (not even the naïve) objected. " * 3


def encoder_of(tokenizer: Any, style: Any, length: int, **keys: Any) -> ContextEncoder:
    section = Span(**{"name": "span", "stride": 5, "max_length": length, **keys})
    return ContextEncoder(tokenizer, style, length, section)


def roberta(material: Path) -> Any:
    folder = material / "data/tokenizers/glm"
    names = {"vocab": "roberta-vocab.json", "merges": "roberta-merges.txt"}
    return RobertaTokenizer(**{key: str(folder / name) for key, name in names.items()})


def test_windows_are_those_of_the_tokenizer(material: Path, bert_tokenizer: Any) -> None:
    for tokenizer in (bert_tokenizer, roberta(material)):
        expected = tokenizer(
            QUESTION, CONTEXT, truncation="only_second", max_length=32, stride=5,
            return_overflowing_tokens=True, return_offsets_mapping=True,
        )  # fmt: skip
        found = list(encoder_of(tokenizer, "pair", 32).windows(QUESTION, CONTEXT))
        assert len(found) == len(expected["input_ids"]) > 2
        for number, (inputs, window) in enumerate(found):
            assert inputs["input_ids"] == expected["input_ids"][number]
            if "token_type_ids" in expected:
                assert inputs["token_type_ids"] == expected["token_type_ids"][number]
            spans = [
                CONTEXT[start:end].strip()
                for (start, end), part in zip(
                    expected["offset_mapping"][number], expected.sequence_ids(number), strict=True
                )
                if part == 1
            ]
            known = window.context
            own = range(window.first, window.last)
            assert [CONTEXT[known.starts[n] : known.ends[n]] for n in own] == spans
            ids = inputs["input_ids"][window.place : window.place + len(own)]
            assert ids == known.ids[window.first : window.last]
            assert window.null == 0


def test_named_texts_end_with_the_token_of_no_answer(t5_tokenizer: Any) -> None:
    found = list(encoder_of(t5_tokenizer, "named", 40).windows("Who?", CONTEXT))
    assert len(found) > 1
    inputs, window = found[0]
    text = t5_tokenizer.decode(inputs["input_ids"])
    assert text.startswith("question: Who? context: It was signed")
    assert text.endswith("answer:</s>")
    assert window.null == len(inputs["input_ids"]) - 2
    assert max(len(one["input_ids"]) for one, _ in found) == 40


def test_answers_are_found_in_the_windows_that_have_them(bert_tokenizer: Any) -> None:
    encoder = encoder_of(bert_tokenizer, "pair", 32)
    start = CONTEXT.index("Oslo", 90)
    tokens = encoder.context(CONTEXT).tokens_of(start, start + 4)
    found = [
        bert_tokenizer.decode(inputs["input_ids"][first : last + 1])
        for inputs, window in encoder.windows(QUESTION, CONTEXT)
        for first, last in [window.target(tokens)]
    ]
    assert set(found) == {"[CLS]", "oslo"}
    assert list(encoder.context(CONTEXT).tokens_of(6, 8)) == []  # two spaces


def test_what_squad_marks_is_found_again(material: Path, bert_tokenizer: Any) -> None:
    """The characters of an answer's tokens are the answer, but where a token is longer."""
    path = material / "data/squad/dev-v1.1_heldout10.json"
    encoder, other = encoder_of(bert_tokenizer, "pair", 384), 0
    rows: list[Any] = read_rows(path, readers={".json": read_squad})
    for row in rows[::4]:
        text, start = row["answers"]["text"][0], row["answers"]["answer_start"][0]
        context = encoder.context(row["context"])
        tokens = context.tokens_of(start, start + len(text))
        found = row["context"][context.starts[tokens[0]] : context.ends[tokens[-1]]]
        assert text in found
        other += found != text
    assert other <= 3


def test_long_questions_are_cut(bert_tokenizer: Any) -> None:
    encoder = encoder_of(bert_tokenizer, "pair", 32, max_question=4)
    inputs, window = next(encoder.windows(QUESTION, CONTEXT))
    expected = bert_tokenizer("Where was the naïve", add_special_tokens=False)["input_ids"]
    assert inputs["input_ids"][1:5] == expected
    assert window.place == 6
    assert encoder.cut_questions == 1
    assert encoder.windowed == 1


def test_what_is_refused(bert_tokenizer: Any) -> None:
    class Slow:
        is_fast = False

    with pytest.raises(UserError, match="and Slow does not. Use a backbone with a tokenizer.json"):
        encoder_of(Slow(), "pair", 32)
    encoder = encoder_of(bert_tokenizer, "pair", 12)
    with pytest.raises(UserError, match="task.max_length: 12 leaves 2 tokens for the context"):
        next(encoder.windows(QUESTION, CONTEXT))
