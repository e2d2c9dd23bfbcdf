"""Words become sub-words, and sentences become windows of them that lose no word.

Words are tokenised one by one, which any tokenizer can, and which is what a fast one does with
words that were split beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Tokenizer
from ptv2_scale.tasks.text import Inputs, tokenize, tokenize_words

_ONE, _TWO = "the", "cat"  # words of every vocabulary, by which a tokenizer shows what it does


def space_before_words(tokenizer: Tokenizer) -> str:
    """A space where a word must have one in front to get the tokens that it has in a text, else "".

    Byte-level vocabularies (GPT-2, RoBERTa) have sub-words of their own behind a space.
    """
    text, one, two = tokenize_words([f"{_ONE} {_TWO}", _ONE, _TWO], tokenizer)
    (spaced,) = tokenize_words([f" {_TWO}"], tokenizer)
    return " " if one + two != text == one + spaced else ""


class Subwords:
    """The sub-words of single words, by one tokenizer: those that they have in a text.

    Args:
        tokenizer: the backbone's.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}
        self._space = space_before_words(tokenizer)

    def learn(self, sentences: Sequence[Sequence[str]]) -> None:
        """Tokenise all words of sentences at once."""
        needed = dict.fromkeys(word for words in sentences for word in self._spelled(words))
        new = [word for word in needed if word not in self._known]
        self._known.update(zip(new, tokenize_words(new, self._tokenizer), strict=True))

    def of(self, words: Sequence[str]) -> list[list[int]]:
        """Ids of each word of a sentence.

        A word that the tokenizer drops (a zero-width space, say) is the unknown token, so that
        every word has a state.

        Raises:
            UserError: there is no such token.
        """
        self.learn([words])
        spelled = zip(words, self._spelled(words), strict=True)
        return [self._known[text] or [self._unknown(word)] for word, text in spelled]

    def _spelled(self, words: Sequence[str]) -> list[str]:
        return [word if place == 0 else self._space + word for place, word in enumerate(words)]

    def _unknown(self, word: str) -> int:
        if self._tokenizer.unk_token_id is None:
            raise UserError(
                f"the word {word!r:.60} has no tokens, and the backbone's tokenizer has none for"
                " unknown words. Take such words, and their tags, out of the file"
            )
        return int(self._tokenizer.unk_token_id)


@dataclass(frozen=True)
class Frame:
    """The special tokens around one text, or around two.

    Attributes:
        before, between, after: ids in front of the texts, between them and behind them.
        types: token types of: before, the first text, between, the second, after; () where the
            tokenizer gives none.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    types: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(cls, tokenizer: Tokenizer, pair: bool) -> Frame:
        """The frame that a tokenizer puts around texts.

        Raises:
            UserError: it puts none around them, but changes them.
        """
        texts = [_ONE, _TWO] if pair else [_ONE]
        bare = tokenize_words(texts, tokenizer)
        (found,) = tokenize([tuple(texts)], tokenizer, "pair", 1000)[0]
        ids, types = found["input_ids"], found.get("token_type_ids")
        start = _place_of(bare[0], ids, 0)
        end = start + len(bare[0])
        second = _place_of(bare[1], ids, end) if pair else end
        last = second + len(bare[1]) if pair else end
        cuts = [(0, start), (start, start + 1), (end, second), (second, second + 1)]
        return cls(
            tuple(ids[:start]),
            tuple(ids[end:second]),
            tuple(ids[last:]),
            () if types is None else tuple(tuple(types[a:b]) for a, b in [*cuts, (last, len(ids))]),
        )

    @property
    def size(self) -> int:
        """How many special tokens there are."""
        return len(self.before) + len(self.between) + len(self.after)

    def around(self, first: Sequence[int], second: Sequence[int] = ()) -> Inputs:
        """Inputs of a text, or of two."""
        inputs = {"input_ids": [*self.before, *first, *self.between, *second, *self.after]}
        if self.types:
            before, one, between, two, after = map(list, self.types)
            whole = before + one * len(first) + between + two[:1] * len(second) + after
            inputs["token_type_ids"] = whole
        return inputs


def _place_of(wanted: Sequence[int], ids: Sequence[int], start: int) -> int:
    for place in range(start, len(ids) - len(wanted) + 1):
        if list(ids[place : place + len(wanted)]) == list(wanted):
            return place
    raise UserError(
        "the backbone's tokenizer gives a word other tokens with special tokens around it than"
        " without, so the tokens of a word cannot be found"
    )


class Window(NamedTuple):
    """Words that are read at once.

    Attributes:
        start, end: words that are in it, counted from 0, `end` excluded.
        first, last: those whose answers are read from it, `last` excluded.
    """

    start: int
    end: int
    first: int
    last: int


def windows(sizes: Sequence[int], room: int, overlap: int) -> list[Window]:
    """Windows over a sentence; each word is read in exactly one of them.

    Of two windows, each reads its half of the words that both have, so that none is read at an edge
    without context.

    Args:
        sizes: tokens of each word, none more than `room`.
        room: most tokens of a window.
        overlap: most tokens that two neighbours have in common.
    """
    ends = list(accumulate(sizes, initial=0))
    spans = [(0, _end(ends, 0, room))]
    while spans[-1][1] < len(sizes):
        start, end = spans[-1]
        # The next word must fit, or the next window would be no step forward.
        least = max(ends[end] - overlap, ends[end + 1] - room)
        start = next(word for word in range(start + 1, end + 1) if ends[word] >= least)
        spans.append((start, _end(ends, start, room)))
    middles = [
        (later[0] + before[1] + 1) // 2 for before, later in zip(spans, spans[1:], strict=False)
    ]
    borders = [0, *middles, len(sizes)]
    owned = zip(borders, borders[1:], strict=False)
    return [Window(*span, *own) for span, own in zip(spans, owned, strict=True)]


def _end(ends: Sequence[int], start: int, room: int) -> int:
    end = start + 1
    while end < len(ends) - 1 and ends[end + 1] - ends[start] <= room:
        end += 1
    return end
