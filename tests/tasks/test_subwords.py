"""Sub-words against what fast tokenizers do with split words; windows that lose no word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import GPT2Tokenizer, RobertaTokenizer

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.subwords import Frame, Subwords, windows

SENTENCE = ["The", "U.N.", "official", "Ekeus", "'s", "naïve", "(", "Baghdad)", "漢字"]


def vocabulary(material: Path, name: str) -> str:
    return str(material / "data/tokenizers/glm" / name)


def tokenizers(material: Path, bert: Any, t5: Any) -> dict[str, Any]:
    made = {"bert": bert, "t5": t5}
    for name, kind in (("roberta", RobertaTokenizer), ("gpt2", GPT2Tokenizer)):
        files = (vocabulary(material, f"{name}-{part}") for part in ("vocab.json", "merges.txt"))
        made[name] = kind(**dict(zip(("vocab", "merges"), files, strict=True)))
    return made


def by_word(tokenizer: Any, words: list[str]) -> list[list[int]]:
    """The tokens of each word by the tokenizer's own account of them."""
    encoded = tokenizer(words, is_split_into_words=True, add_special_tokens=False)
    found: list[list[int]] = [[] for _ in words]
    for token, word in zip(encoded["input_ids"], encoded.word_ids(), strict=True):
        found[word].append(token)
    return found


def test_same_tokens_as_a_fast_tokenizer_gives_split_words(
    material: Path, bert_tokenizer: Any, t5_tokenizer: Any
) -> None:
    for name, tokenizer in tokenizers(material, bert_tokenizer, t5_tokenizer).items():
        assert tokenizer.is_fast
        found = Subwords(tokenizer).of(SENTENCE)
        spaced = name in ("roberta", "gpt2")  # in a text, words have a space before them
        split = [SENTENCE[0], *(f" {word}" if spaced else word for word in SENTENCE[1:])]
        assert found == by_word(tokenizer, split), name
        text = tokenizer(" ".join(SENTENCE[:4]), add_special_tokens=False)["input_ids"]
        assert sum(found[:4], []) == text, name


def test_a_word_of_no_tokens_is_unknown(bert_tokenizer: Any) -> None:
    assert (
        Subwords(bert_tokenizer).of(["a", "\u200b", ""])[1:] == [[bert_tokenizer.unk_token_id]] * 2
    )
    bert_tokenizer = Silent(bert_tokenizer)
    with pytest.raises(UserError, match=r"the word '\\u200b' has no tokens"):
        Subwords(bert_tokenizer).of(["a", "\u200b"])


class Silent:
    """A tokenizer without a token for unknown words."""

    unk_token_id = None

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __call__(self, *texts: Any, **options: Any) -> Any:
        return self._tokenizer(*texts, **options)


def test_frames_are_the_tokenizers_own(
    material: Path, bert_tokenizer: Any, t5_tokenizer: Any
) -> None:
    for name, tokenizer in tokenizers(material, bert_tokenizer, t5_tokenizer).items():
        texts = ("the cat sat", "dogs") if name != "gpt2" else ("the cat sat", " dogs")
        for pair in (False, True):
            given_texts = texts if pair else texts[:1]
            bare = [tokenizer(one, add_special_tokens=False)["input_ids"] for one in given_texts]
            expected = tokenizer(*given_texts)
            found = Frame.of(tokenizer, pair).around(*bare)
            assert found["input_ids"] == expected["input_ids"], (name, pair)
            assert found.get("token_type_ids") == expected.get("token_type_ids"), (name, pair)


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=60),
    room=st.integers(9, 40),
    overlap=st.integers(0, 50),
)
def test_each_word_is_read_once_and_windows_fit(sizes: list[int], room: int, overlap: int) -> None:
    found = windows(sizes, room, overlap)
    assert [word for one in found for word in range(one.first, one.last)] == list(range(len(sizes)))
    for one in found:
        assert one.start <= one.first < one.last <= one.end
        assert sum(sizes[one.start : one.end]) <= room
    for one, after in zip(found, found[1:], strict=False):
        assert one.start < after.start <= one.end < after.end
        shared = sum(sizes[after.start : one.end])
        assert shared <= overlap
        # As much as may be shared is, unless the next word would not fit beside it.
        wider = sum(sizes[after.start - 1 : one.end])
        assert wider > overlap or wider + sizes[one.end] > room or after.start - 1 == one.start


def test_windows_by_hand() -> None:
    # Eight words of one token, four a window, two shared: each reads its half of those.
    assert windows([1] * 8, 4, 2) == [(0, 4, 0, 3), (2, 6, 3, 5), (4, 8, 5, 8)]
    assert windows([1] * 4, 4, 2) == [(0, 4, 0, 4)]
    assert windows([1] * 5, 4, 0) == [(0, 4, 0, 4), (4, 5, 4, 5)]
