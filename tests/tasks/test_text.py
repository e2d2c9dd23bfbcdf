"""Texts are cut as the tokenizer would, or better, and quickly."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Words
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Task
from ptv2_scale.tasks.text import tokenize


def some_words(count: int) -> str:
    return " ".join(f"w{number % 100}" for number in range(count))


def test_pairs_are_cut_longest_first(words: Any) -> None:
    texts = [(some_words(30), "w7 w8"), ("w1", "w2"), ("w7 w8", some_words(30))]
    inputs, cut = tokenize(texts, words, "pair", 12)
    assert cut == 2
    for text, found in zip(texts, inputs, strict=True):
        expected = words(*text, truncation="longest_first", max_length=12)
        assert found["input_ids"] == expected["input_ids"]
        assert found["token_type_ids"] == expected["token_type_ids"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_one_text_of_two_parts_keeps_the_short_one(words: Any, order: tuple[int, int]) -> None:
    both = ("q: w7 w8", "p: " + some_words(90))
    (found,), cut = tokenize([(both[order[0]], both[order[1]])], words, "named", 40)
    ids = found["input_ids"]
    assert cut == 1
    assert 37 <= len(ids) <= 40  # little is lost beyond what must be
    assert (ids[0], ids[-1]) == (2, 3)
    assert {107, 108} <= set(ids)
    assert ids.count(1) == 2  # both names


def test_two_long_parts_share_the_room(words: Any) -> None:
    parts = ("a: " + some_words(60), "b: " + some_words(60))
    (found,), _ = tokenize([parts], words, "named", 22)
    names = [place for place, token in enumerate(found["input_ids"]) if token == 1]
    assert len(found["input_ids"]) <= 22
    assert names[0] == 1
    assert 9 <= names[1] <= 12


@pytest.mark.parametrize("max_length", [4, 16, 64])
def test_never_longer_than_allowed(material: Path, t5_tokenizer: Any, max_length: int) -> None:
    lines = (material / "data/text/factbook_paragraphs.txt").read_text().splitlines()[:300]
    parts = [(f"question: {lines[n]}", f"passage: {lines[-n]}") for n in range(1, 150)]
    for style in ("pair", "named"):
        inputs, cut = tokenize(parts, t5_tokenizer, style, max_length)
        assert cut > 0
        assert max(len(found["input_ids"]) for found in inputs) <= max_length
        assert {found["input_ids"][-1] for found in inputs} == {t5_tokenizer.eos_token_id}


def test_warning_tells_how_many(
    task_of: Callable[..., Task], words: Any, caplog: pytest.LogCaptureFixture
) -> None:
    task = task_of(name="glue/sst2")
    rows = [{"sentence": some_words(size)} for size in (3, 30, 40)]
    with caplog.at_level(logging.WARNING):
        task.encode(rows, words, "pair", 16)
    assert [record.getMessage() for record in caplog.records] == [
        "glue/sst2: 2 of 3 texts are longer than 16 tokens and were cut (task.max_length)"
    ]
    caplog.clear()
    task.encode(rows[:1], words, "pair", 16)
    assert not caplog.records


def test_many_rows_are_quick(words: Any) -> None:
    parts = [(some_words(20), some_words(size % 30)) for size in range(20_000)]
    began = time.perf_counter()
    inputs, cut = tokenize(parts, words, "pair", 32)
    assert (len(inputs), cut > 0) == (len(parts), True)
    assert time.perf_counter() - began < 15  # about one second where nothing else runs


@pytest.mark.parametrize(
    ("style", "texts", "max_length", "least"),
    [
        ("pair", (some_words(300), "w1"), 2, 5),
        ("pair", ("w1", some_words(300)), 4, 5),
        ("pair", (some_words(300),), 2, 3),
        ("named", ("p: " + some_words(300), "q: w1"), 3, 4),
    ],
)
def test_a_length_without_room_for_a_text_is_refused(
    words: Any, style: Any, texts: tuple[str, ...], max_length: int, least: int
) -> None:
    with pytest.raises(UserError, match=f"{max_length} leaves no room.*Raise it to {least} or"):
        tokenize([("w1",) * len(texts), texts], words, style, max_length)
    found, cut = tokenize([texts], words, style, least)
    assert (len(found[0]["input_ids"]), cut) == (least, 1)


def test_at_the_least_length_both_texts_keep_a_token(words: Any) -> None:
    (found,), _ = tokenize([(some_words(300), "w9")], words, "pair", 5)
    assert found["input_ids"] == [2, 100, 3, 109, 3]


class Uncut:
    """A tokenizer with code of its own, which takes no notice of a length."""

    def __init__(self, words: Any) -> None:
        self._words = words

    def __call__(self, *texts: Any, **options: Any) -> Any:
        return self._words(*texts, verbose=False)


def test_a_tokenizer_that_does_not_cut_is_found_out(words: Any) -> None:
    with pytest.raises(UserError, match=r"asked to cut a text to 8 tokens and gave \d+"):
        tokenize([("w1 " * 40, "w2")], Uncut(words), "pair", 8)


def test_a_text_without_tokens_is_refused_with_its_row() -> None:
    model = Words(WordLevel({"w1": 0, "?": 1}, unk_token="?"))
    model.pre_tokenizer = WhitespaceSplit()
    bare = PreTrainedTokenizerFast(tokenizer_object=model)
    with pytest.raises(UserError, match="row 2: the text has no tokens"):
        tokenize([("w1",), (" ",)], bare, "pair", 8)


class Talkative(Uncut):
    """A tokenizer that gives more than models take, in shapes of its own."""

    def __call__(self, *texts: Any, **options: Any) -> Any:
        found = self._words(*texts, **options)
        count = len(found["input_ids"])
        return {**found, "position_ids": [[[0], [1]]] * count, "length": [3] * count}


def test_what_no_model_takes_of_a_tokenizer_is_left_out(words: Any) -> None:
    (found,), _ = tokenize([("w1", "w2")], Talkative(words), "pair", 8)
    assert found.keys() == {"input_ids", "token_type_ids"}
