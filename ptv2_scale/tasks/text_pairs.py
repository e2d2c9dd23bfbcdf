"""What a row of a text task gives: the tokens that are read, and those that are to be said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ptv2_scale.data.rows import text_of
from ptv2_scale.tasks.base import Tokenizer
from ptv2_scale.tasks.cloze import tokens_behind, without_ends
from ptv2_scale.tasks.text import encode_texts

Rows = Sequence[Mapping[str, object]]


@dataclass(frozen=True)
class Passage:
    """Tokens of a row.

    Attributes:
        prompt: what is given; at least one token.
        answer: what stands behind it.
        labels: what each place of the answer is to say, its own token or IGNORED.
    """

    prompt: list[int]
    answer: list[int]
    labels: list[int]


class TextSource(Protocol):
    """How rows are read."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that every row has."""

    @property
    def answered(self) -> tuple[str, ...]:
        """Columns that rows with their answers have."""

    def describe(self) -> str:
        """A line for people."""

    def check_row(self, row: Mapping[str, object], number: int) -> None:
        """Refuse a row that cannot be read; see `Task`."""

    def answer(self, row: Mapping[str, object], number: int) -> str:
        """The text that answers a row.

        Raises:
            UserError: it has none.
        """

    def prompts(self, rows: Rows, tokenizer: Tokenizer) -> list[list[int]]:
        """What is read of rows that are to be answered, as the tokenizer ends a text.

        Raises:
            UserError: a row cannot be read.
        """

    def passages(self, rows: Rows, tokenizer: Tokenizer, end: int) -> list[Passage]:
        """Rows with their answers, each closed by the token `end`.

        Raises:
            UserError: a row cannot be read, or has no answer.
        """

    def goes_on(self, prompt: list[int], tokenizer: Tokenizer) -> list[int]:
        """A prompt behind which a causal model goes on."""

    def shortened(self, prompt: list[int], room: int) -> list[int]:
        """At most `room` tokens of a prompt that goes on."""


@dataclass(frozen=True)
class Pairs:
    """Two columns: a text, and the text that answers it.

    Attributes:
        given: column of the text that is read.
        target: column of the answer.
    """

    given: str
    target: str

    @property
    def columns(self) -> tuple[str, ...]:
        """See `TextSource`."""
        return (self.given,)

    @property
    def answered(self) -> tuple[str, ...]:
        """See `TextSource`."""
        return (self.given, self.target)

    def describe(self) -> str:
        """See `TextSource`."""
        return f"text: {self.target}, behind {self.given}"

    def check_row(self, row: Mapping[str, object], number: int) -> None:
        """See `TextSource`."""
        text_of(row, self.given, number)

    def answer(self, row: Mapping[str, object], number: int) -> str:
        """See `TextSource`."""
        return text_of(row, self.target, number)

    def prompts(self, rows: Rows, tokenizer: Tokenizer) -> list[list[int]]:
        """See `TextSource`."""
        texts = [(text_of(row, self.given, number),) for number, row in enumerate(rows, start=1)]
        return [found["input_ids"] for found in encode_texts(tokenizer, texts)]

    def passages(self, rows: Rows, tokenizer: Tokenizer, end: int) -> list[Passage]:
        """See `TextSource`."""
        texts = [self.answer(row, number) for number, row in enumerate(rows, start=1)]
        answers = [[*tokens_behind(text, True, tokenizer), end] for text in texts]
        prompts = self.prompts(rows, tokenizer)
        return [Passage(*pair, pair[1]) for pair in zip(prompts, answers, strict=True)]

    def goes_on(self, prompt: list[int], tokenizer: Tokenizer) -> list[int]:
        """See `TextSource`: without the tokens that end a text."""
        ends = {tokenizer.eos_token_id, tokenizer.sep_token_id} - {None}
        return without_ends({"input_ids": prompt}, ends)["input_ids"]

    def shortened(self, prompt: list[int], room: int) -> list[int]:
        """See `TextSource`: its beginning."""
        return prompt[:room]
