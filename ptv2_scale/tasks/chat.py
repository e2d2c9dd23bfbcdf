"""Conversations, by the chat template of the backbone's tokenizer.

A template is free to write what it likes, so what an assistant's turn adds is found by rendering:
the conversation up to the turn, with the words that let the assistant speak, must be how the whole
begins. What is learned then stands behind exactly what the model will be given when it answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ptv2_scale.data.collate import IGNORED
from ptv2_scale.data.rows import place_of, require_columns
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Tokenizer
from ptv2_scale.tasks.text_pairs import Passage, Rows

Message = Mapping[str, Any]
Turns = Literal["all", "last"]
ASSISTANT = "assistant"


@dataclass(frozen=True)
class Chats:
    """One column: the messages of a conversation, each with a role and a content.

    Attributes:
        column: its name.
        turns: which of an assistant's turns are learned.
    """

    column: str
    turns: Turns = "all"

    @property
    def columns(self) -> tuple[str, ...]:
        """See `TextSource`."""
        return (self.column,)

    @property
    def answered(self) -> tuple[str, ...]:
        """See `TextSource`: the answer is the last of the messages."""
        return (self.column,)

    def describe(self) -> str:
        """See `TextSource`."""
        learned = "every turn" if self.turns == "all" else "the last turn"
        return f"text: {learned} of the assistant in {self.column}, by the tokenizer's template"

    def check_row(self, row: Mapping[str, object], number: int) -> None:
        """See `TextSource`."""
        self._messages(row, number)

    def answer(self, row: Mapping[str, object], number: int) -> str:
        """See `TextSource`: what the assistant has said last."""
        return str(self._answered(row, number)[-1]["content"])

    def prompts(self, rows: Rows, tokenizer: Tokenizer) -> list[list[int]]:
        """See `TextSource`: what the assistant has said last is left out."""
        found = []
        for number, row in enumerate(rows, start=1):
            messages = self._messages(row, number)
            if messages[-1]["role"] == ASSISTANT:
                messages = messages[:-1]
            found.append(_Template(tokenizer, place_of(row, number)).asked(messages))
        return found

    def passages(self, rows: Rows, tokenizer: Tokenizer, end: int) -> list[Passage]:
        """See `TextSource`."""
        return [
            self._passage(self._answered(row, number), row, number, tokenizer, end)
            for number, row in enumerate(rows, start=1)
        ]

    def goes_on(self, prompt: list[int], tokenizer: Tokenizer) -> list[int]:
        """See `TextSource`: as it is, for the template has let the assistant speak."""
        return prompt

    def shortened(self, prompt: list[int], room: int) -> list[int]:
        """See `TextSource`: its end, where the question is."""
        return prompt[max(0, len(prompt) - room) :]

    def _passage(
        self,
        messages: Sequence[Message],
        row: Mapping[str, object],
        number: int,
        tokenizer: Tokenizer,
        end: int,
    ) -> Passage:
        template = _Template(tokenizer, place_of(row, number))
        ids = template.ids(messages)
        places = [place for place, one in enumerate(messages) if one["role"] == ASSISTANT]
        learned = places if self.turns == "all" else places[-1:]
        spans = [template.span(messages, place, ids, end) for place in learned]
        ids = ids[: spans[-1][1]]
        labels = [IGNORED] * len(ids)
        for start, stop in spans:
            labels[start:stop] = ids[start:stop]
        if ids[-1] != end:  # the template leaves the last turn open
            ids, labels = [*ids, end], [*labels, end]
        first = spans[0][0]
        return Passage(ids[:first], ids[first:], labels[first:])

    def _answered(self, row: Mapping[str, object], number: int) -> Sequence[Message]:
        """Messages up to the assistant's last one."""
        messages = self._messages(row, number)
        places = [place for place, one in enumerate(messages) if one["role"] == ASSISTANT]
        if not places:
            raise UserError(
                f"{place_of(row, number)}, column '{self.column}': no message has the role"
                f" '{ASSISTANT}', so there is no answer."
            )
        return messages[: places[-1] + 1]

    def _messages(self, row: Mapping[str, object], number: int) -> Sequence[Message]:
        place = place_of(row, number)
        require_columns(row, (self.column,), place)
        found = row[self.column]
        if not isinstance(found, Sequence) or isinstance(found, str) or not found:
            raise UserError(
                f"{place}, column '{self.column}': found {found!r:.60}, expected a list of"
                " messages, such as {'role': 'user', 'content': '...'}."
            )
        for turn, message in enumerate(found, start=1):
            _check(message, f"{place}, column '{self.column}', message {turn}")
        if found[0]["role"] == ASSISTANT:
            raise UserError(
                f"{place}, column '{self.column}': the first message is the assistant's, which"
                " answers nothing. Begin with a user's."
            )
        return found


def _check(message: object, where: str) -> None:
    expected = "expected a mapping with 'role' and 'content', both texts"
    if not isinstance(message, Mapping):
        raise UserError(f"{where}: found {message!r:.60}, {expected}.")
    for key in ("role", "content"):
        if not isinstance(message.get(key), str):
            raise UserError(f"{where}: {key} is {message.get(key)!r:.60}, {expected}.")


@dataclass(frozen=True)
class _Template:
    """A tokenizer's chat template at work on a row, which messages are about."""

    tokenizer: Tokenizer
    place: str

    def asked(self, messages: Sequence[Message]) -> list[int]:
        """Tokens of messages, and of what lets the assistant speak behind them."""
        return self.ids(messages, add_generation_prompt=True)

    def ids(self, messages: Sequence[Message], **options: bool) -> list[int]:
        """Tokens of messages."""
        if getattr(self.tokenizer, "chat_template", None) is None:
            raise UserError(
                "task.messages: the backbone's tokenizer has no chat template. Name one that has"
                " (backbone.tokenizer), or give texts by task.input and task.target."
            )
        try:
            found: list[int] = self.tokenizer.apply_chat_template(
                list(messages), tokenize=True, return_dict=False, **options
            )
        except Exception as error:  # a template raises what it likes: Jinja's errors and Python's
            raise UserError(
                f"{self.place}: the tokenizer's chat template does not take this conversation:"
                f" {error}"
            ) from None
        return found

    def span(
        self, messages: Sequence[Message], place: int, ids: list[int], end: int
    ) -> tuple[int, int]:
        """First token of a turn among `ids` of all messages, and the one behind its last.

        What stands behind the turn's end, such as a line break, is none of it: generation stops
        before.
        """
        asked, answered = self.asked(messages[:place]), self.ids(messages[: place + 1])
        start, stop = len(asked), len(answered)
        if ids[:start] != asked or ids[:stop] != answered or start >= stop:
            raise UserError(
                f"{self.place}: the tokenizer's chat template writes the beginning of this"
                f" conversation in another way once more follows, so message {place + 1} cannot be"
                " learned as it would be answered. Set task.turns: last, or give texts by"
                " task.input and task.target."
            )
        ends = [number for number in range(start, stop) if ids[number] == end]
        return start, ends[-1] + 1 if ends else stop
