"""The section `task` of a recipe for text that answers text."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ptv2_scale.config.task import TASKS, TaskSection
from ptv2_scale.config.values import Count, Text


@TASKS.add
class TextToText(TaskSection):
    """A text that answers each row's text, token by token."""

    NAMES: ClassVar[tuple[str, ...]] = ("text",)

    kind: Literal["text"] = Field(
        default="text", description="A text that answers each row's text, token by token."
    )
    input: Text = Field(default="input", description="Column of the text that is given.")
    target: Text = Field(default="target", description="Column of the text that answers it.")
    max_length: Annotated[int, Field(ge=4, le=10**9)] = Field(
        default=256,
        description="Tokens of text and answer together, of a T5 those of each; longer ones are"
        " cut, the answer to a half at most.",
    )
    max_new_tokens: Count = Field(
        default=64,
        description="Most tokens of an answer that predict and generate write; learning and scoring"
        " read answers whole.",
    )
    chunk: Count = Field(
        default=1024, description="Tokens whose logits over the vocabulary are in memory at once."
    )
    metric: Literal["log_likelihood", "exact_match"] = Field(
        default="log_likelihood",
        description="What decides which checkpoint is best: the mean log-likelihood of a token, or"
        " the share of answers that greedy decoding gives to the letter.",
    )
