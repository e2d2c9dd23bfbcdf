"""The section `task` of a recipe for choosing among candidates."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ptv2_scale.config.rules import Partner, Partners
from ptv2_scale.config.task import TASKS, TaskSection
from ptv2_scale.config.values import Text


@TASKS.add
class Choice(TaskSection):
    """The right ones of the candidates that each row brings."""

    PARTNERS: ClassVar[Partners] = {
        "context": Partner("name", "choice"),
        "question": Partner("name", "choice"),
        "candidates": Partner("name", "choice", needs=True),
        "answer": Partner("name", "choice", needs=True),
        "choose": Partner("name", "choice"),
    }
    NAMES: ClassVar[tuple[str, ...]] = (
        *("superglue/copa", "superglue/multirc", "superglue/record"),
        "choice",
    )
    FOUND: ClassVar[frozenset[str]] = frozenset({"metric"})

    kind: Literal["choice"] = Field(
        default="choice", description="The right ones of the candidates that each row brings."
    )
    context: Text | None = Field(
        default=None,
        description="Column of a text that is cut where all is too long; name: choice only.",
    )
    question: Text | None = Field(
        default=None, description="Column of the question; name: choice only."
    )
    candidates: Annotated[list[Text], Field(min_length=1)] | None = Field(
        default=None,
        description="The column of a row's list of candidates, or one column for each of them;"
        " name: choice only.",
    )
    answer: Text | None = Field(
        default=None,
        description="Column of the right candidates: a number from 0, a candidate's text, or a"
        " list of these; name: choice only.",
    )
    choose: Literal["one", "any", "best"] | None = Field(
        default=None,
        description="one (null is the same): one candidate is right, by a softmax over all; any:"
        " any number is, each judged by itself; best: each is judged by itself, and the best is the"
        " answer; name: choice only.",
    )
    metric: Literal["accuracy", "f1a", "em", "f1"] | None = Field(
        default=None,
        description="What decides which checkpoint is best: accuracy where one is chosen, f1a or"
        " em where any number is, f1 or em where the best is; null: the first of them.",
    )
    head: Literal["linear", "hf"] | None = Field(
        default=None,
        description="A score for a candidate; hf mirrors transformers' own; null: the family's"
        " default.",
    )
