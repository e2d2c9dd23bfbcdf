"""Question and context become windows of tokens that know their characters."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from ptv2_scale.config import Span
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Style, Tokenizer
from ptv2_scale.tasks.subwords import Frame, space_before_words
from ptv2_scale.tasks.text import Inputs, tokenize_words


@dataclass(frozen=True)
class TokenizedContext:
    """Tokens of a context; windows of it share them.

    Attributes:
        text: the context.
        ids: of its tokens.
        starts, ends: characters of each token, white space around them left out.
    """

    text: str
    ids: list[int]
    starts: array[int]
    ends: array[int]

    def tokens_of(self, start: int, end: int) -> range:
        """Numbers of the tokens that have characters from `start` to `end`; empty: none has."""
        found = [
            token
            for token in range(len(self.ids))
            if self.starts[token] < min(self.ends[token], end) and self.ends[token] > start
        ]
        return range(found[0], found[-1] + 1) if found else range(0)


@dataclass(frozen=True)
class ContextWindow:
    """What is to be known of an example, to make an answer of its outputs.

    Attributes:
        context: of which it is a part.
        first, last: tokens of the context that are in it, `last` excluded.
        place: the token of the input that is the first of them.
        null: the token of the input whose scores are those of no answer.
    """

    context: TokenizedContext
    first: int
    last: int
    place: int
    null: int

    def target(self, tokens: range) -> tuple[int, int]:
        """First and last token of the input for an answer, or twice that of no answer."""
        if not tokens or tokens[0] < self.first or tokens[-1] >= self.last:
            return self.null, self.null
        shift = self.place - self.first
        return tokens[0] + shift, tokens[-1] + shift


class ContextEncoder:
    """Encodes questions with contexts for one tokenizer.

    In the style "pair" the tokenizer joins both in its own way, and its first token ([CLS]) stands
    for no answer. In the style "named" they become "question: ... context: ... answer:", and the
    last token stands for it: the only one that has seen everything in a model that reads from left
    to right.

    Args:
        tokenizer: the backbone's.
        style: how the backbone wants two texts joined.
        max_length: most tokens of a window.
        section: the recipe's.

    Raises:
        UserError: the tokenizer does not say which characters its tokens are.
    """

    def __init__(self, tokenizer: Tokenizer, style: Style, max_length: int, section: Span) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise UserError(
                "task.kind: span needs a tokenizer that says which characters a token is, and"
                f" {type(tokenizer).__name__} does not. Use a backbone with a tokenizer.json"
            )
        self._tokenizer, self._length, self._section = tokenizer, max_length, section
        self._named = style == "named"
        self._frame = Frame.of(tokenizer, pair=not self._named)
        space = space_before_words(tokenizer)
        self._space = space if self._named else ""
        self._tail = tokenize_words([f"{space}answer:"], tokenizer)[0] if self._named else []
        self._contexts: dict[str, TokenizedContext] = {}
        self.cut_questions, self.windowed = 0, 0

    def context(self, text: str) -> TokenizedContext:
        """A context's tokens, which its questions share."""
        if text not in self._contexts:
            self._contexts[text] = self._tokenized(text)
        return self._contexts[text]

    def _tokenized(self, text: str) -> TokenizedContext:
        found = self._tokenizer(
            self._space + text,
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        spans = [self._stripped(text, *span) for span in found["offset_mapping"]]
        starts, ends = (array("i", numbers) for numbers in zip(*spans, strict=True))
        return TokenizedContext(text, list(found["input_ids"]), starts, ends)

    def _stripped(self, text: str, start: int, end: int) -> tuple[int, int]:
        start, end = max(start - len(self._space), 0), max(end - len(self._space), 0)
        while start < end and text[start].isspace():
            start += 1
        while start < end and text[end - 1].isspace():
            end -= 1
        return start, end

    def windows(self, question: str, context: str) -> Iterator[tuple[Inputs, ContextWindow]]:
        """Inputs of each window over a context, and what is to be known of it.

        Raises:
            UserError: `max_length` has no room for them.
        """
        known, asked = self.context(context), self._question(question)
        room = self._length - self._frame.size - len(asked) - len(self._tail)
        step = room - self._section.stride
        if step < 1:
            raise UserError(
                f"task.max_length: {self._length} leaves {max(room, 0)} tokens for the context"
                f" beside a question of {len(asked)}, and task.stride: {self._section.stride} of"
                " them are those of the window before. Raise it, or lower task.stride or"
                " task.max_question"
            )
        self.windowed += len(known.ids) > room
        for first in range(0, max(len(known.ids) - room, 0) + step, step):
            last = min(first + room, len(known.ids))
            yield self._window(asked, known, first, last)
            if last == len(known.ids):
                return

    def _question(self, question: str) -> list[int]:
        text = f"question: {question}" if self._named else question
        (ids,) = tokenize_words([text], self._tokenizer)
        most = self._section.max_question
        self.cut_questions += len(ids) > most
        if not self._named:
            return ids[:most]
        (behind,) = tokenize_words([f"{self._space}context:"], self._tokenizer)
        return [*ids[:most], *behind]

    def _window(
        self, asked: list[int], context: TokenizedContext, first: int, last: int
    ) -> tuple[Inputs, ContextWindow]:
        part = context.ids[first:last]
        before = len(self._frame.before) + len(asked)
        if not self._named:
            place = before + len(self._frame.between)
            return self._frame.around(asked, part), ContextWindow(context, first, last, place, 0)
        inputs = self._frame.around([*asked, *part, *self._tail])
        null = before + len(part) + len(self._tail) - 1
        return inputs, ContextWindow(context, first, last, before, null)
