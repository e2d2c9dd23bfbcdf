"""What is cut of texts that are too long, and what never is."""

from __future__ import annotations

from typing import Any

import pytest

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Style
from ptv2_scale.tasks.fitting import fit

LONG = " ".join(f"w{number % 100}" for number in range(300))


def parts(context: str, choice: str) -> tuple[tuple[str, str], ...]:
    return (("passage", context), ("question", "w7"), ("choice", choice))


def ids(texts: Any, tokenizer: Any, style: Style, max_length: int) -> tuple[list[list[int]], int]:
    inputs, cut = fit(texts, tokenizer, style, max_length, "row {}".format)
    return [one["input_ids"] for one in inputs], cut


def test_what_fits_is_left_as_the_tokenizer_joins_it(words: Any) -> None:
    found, cut = ids([parts("w1 w2", "w3"), parts("w4", "w5 w6")], words, "pair", 8)
    assert found == [[2, 101, 102, 3, 107, 103, 3], [2, 104, 3, 107, 105, 106, 3]]
    assert cut == 0
    named = "passage: w1 w2 question: w7 choice: w3"
    assert ids([parts("w1 w2", "w3")], words, "named", 20)[0] == [words(named)["input_ids"]]


@pytest.mark.parametrize(("style", "end"), [("pair", [107, 101, 102, 3]), ("named", [101, 102, 3])])
def test_the_first_part_alone_is_cut(words: Any, style: Style, end: list[int]) -> None:
    texts = [parts(LONG, "w1 w2"), parts("w3", "w4")]
    (long, short), cut = ids(texts, words, style, 40)
    assert cut == 1
    assert long[-len(end) :] == end
    assert 36 <= len(long) <= 40
    assert len(short) < 12
    whole = words(LONG)["input_ids"]
    start = 1 if style == "pair" else 2  # behind [CLS], and the name
    assert long[start:30] == whole[1 : 31 - start]


def test_words_of_unequal_length_still_fit(words: Any) -> None:
    uneven = " ".join(
        ["w1"] * 200 + ["x" * 400] * 20
    )  # the characters are not where the tokens are
    (found,), _ = ids([parts(uneven, "w9")], words, "pair", 30)
    assert len(found) <= 30
    assert found[-3:] == [107, 109, 3]


def test_a_candidate_that_does_not_fit_is_refused(words: Any) -> None:
    with pytest.raises(UserError, match=r"row 2: the candidate 'w0 w1.*takes 24 tokens \(question"):
        fit([parts("w1", "w2"), parts("w1", LONG[:68])], words, "pair", 20, "row {}".format)
    with pytest.raises(UserError, match=r"task.max_length is 20. Raise it"):
        fit([(("choice", LONG),)], words, "pair", 20, "row {}".format)


def test_a_text_without_tokens_is_refused() -> None:
    def tokenizer(*texts: list[str], **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [[] for _ in texts[0]]}

    with pytest.raises(UserError, match="row 1: the text has no tokens"):
        fit([(("choice", "?"),)], tokenizer, "pair", 20, "row {}".format)
