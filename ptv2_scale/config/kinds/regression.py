"""The section `task` of a recipe for regression."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ptv2_scale.config.rules import Partner, Partners
from ptv2_scale.config.task import TASKS, TaskSection
from ptv2_scale.config.values import Text


@TASKS.add
class Regression(TaskSection):
    """A score for each row."""

    PARTNERS: ClassVar[Partners] = {
        "text": Partner("name", "regression", needs=True),
        "text_pair": Partner("name", "regression"),
        "label": Partner("name", "regression", needs=True),
    }
    NAMES: ClassVar[tuple[str, ...]] = ("glue/stsb", "regression")
    FOUND: ClassVar[frozenset[str]] = frozenset({"metric"})

    kind: Literal["regression"] = Field(
        default="regression", description="A score for each row, by its squared error."
    )
    text: Text | None = Field(
        default=None, description="Column of the text; name: regression only."
    )
    text_pair: Text | None = Field(
        default=None, description="Column of a second text; name: regression only."
    )
    label: Text | None = Field(
        default=None, description="Column of the score; name: regression only."
    )
    metric: Literal["pearson", "spearman"] | None = Field(
        default=None, description="What decides which checkpoint is best; null: pearson."
    )
    head: Literal["linear", "hf"] | None = Field(
        default=None, description="hf mirrors transformers' own; null: the family's default."
    )
