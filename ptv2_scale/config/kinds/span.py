"""The section `task` of a recipe for answers that are spans of a text."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ptv2_scale.config.task import TASKS, TaskSection
from ptv2_scale.config.values import Count, Text


@TASKS.add
class Span(TaskSection):
    """A span of a context that answers a question, or none."""

    NAMES: ClassVar[tuple[str, ...]] = ("squad/v1", "squad/v2", "span")
    PEFT_TASK_TYPE: ClassVar[str | None] = "QUESTION_ANS"
    FOUND: ClassVar[frozenset[str]] = frozenset({"metric", "no_answer"})

    kind: Literal["span"] = Field(
        default="span", description="A span of a context that answers a question, or none."
    )
    question: Text = Field(default="question", description="Column of the question.")
    context: Text = Field(default="context", description="Column of the text with the answer.")
    answers: Text = Field(
        default="answers",
        description="Column of the right answers: lists of text and answer_start (characters).",
    )
    no_answer: bool | None = Field(
        default=None,
        description="Whether questions may have no answer; null: the benchmark's own, or false.",
    )
    null_threshold: Annotated[float, Field(ge=-1e6, le=1e6)] = Field(
        default=0.0,
        description="No answer is given where its score is above the best span's by more than this;"
        " with no_answer: true.",
    )
    max_length: Count = Field(
        default=384, description="Tokens of question and context; longer contexts become windows."
    )
    stride: Annotated[int, Field(ge=0, le=2**20)] = Field(
        default=128, description="Tokens of the context that two windows share."
    )
    max_question: Count = Field(
        default=64, description="Most tokens of a question; the rest is cut."
    )
    max_answer: Count = Field(default=30, description="Most tokens of an answer that is given.")
    n_best: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=20, description="Best starts and ends that are tried, and answers that are listed."
    )
    metric: Literal["f1", "exact"] | None = Field(
        default=None, description="What decides which checkpoint is best; null: f1."
    )
