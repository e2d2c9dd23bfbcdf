"""The section `task` of a recipe for text that answers text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ptv2_scale.config.rules import Conflict
from ptv2_scale.config.task import TASKS, TaskSection
from ptv2_scale.config.values import Count, Text


@TASKS.add
class TextToText(TaskSection):
    """A text that answers each row's text, token by token."""

    NAMES: ClassVar[tuple[str, ...]] = ("text",)

    kind: Literal["text"] = Field(
        default="text", description="A text that answers each row's text, token by token."
    )
    EXCLUSIVE: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("messages", "input"),
        ("messages", "target"),
    )

    input: Text | None = Field(
        default=None, description="Column of the text that is given; null: input."
    )
    target: Text | None = Field(
        default=None, description="Column of the text that answers it; null: target."
    )
    messages: Text | None = Field(
        default=None,
        description="Column of a conversation, a list of {role, content}, in place of input and"
        " target: it is put as the tokenizer's chat template says; causal models only.",
    )
    turns: Literal["all", "last"] | None = Field(
        default=None,
        description="Which of the assistant's turns are learned and scored; null: all; with"
        " messages only.",
    )
    max_length: Annotated[int, Field(ge=4, le=10**9)] = Field(
        default=256,
        description="Tokens of text and answer together, of a T5 those of each; longer ones are"
        " cut, the answer to no less than a half.",
    )
    max_new_tokens: Count = Field(
        default=64,
        description="Most tokens of an answer that is written: by predict and generate, and for"
        " the metrics rouge_l and bleu; all else reads answers whole.",
    )
    chunk: Count = Field(
        default=1024, description="Tokens whose logits over the vocabulary are in memory at once."
    )
    metric: Literal["log_likelihood", "exact_match", "rouge_l", "bleu"] = Field(
        default="log_likelihood",
        description="What decides which checkpoint is best: the mean log-likelihood of a token, the"
        " share of answers that greedy decoding gives to the letter, or how near to the right"
        " answers it comes; for rouge_l and bleu each evaluation writes all answers.",
    )

    @property
    def room(self) -> int:
        """See `AnyTask`: behind a text its answer may be written, whose last token is not read."""
        written = self.metric in ("rouge_l", "bleu")
        return self.max_length + (self.max_new_tokens - 1 if written else 0)

    @classmethod
    def conflicts(cls, given: Mapping[str, Any]) -> Iterator[Conflict]:
        """See `Section`: without a conversation there are no turns."""
        yield from super().conflicts(given)
        if given.get("turns") is not None and given.get("messages") is None:
            yield Conflict(
                ("turns",), "task.turns: is of conversations. Name their column by task.messages."
            )
