"""The section `task` of a recipe: data, head and metric, one model a kind of task."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ptv2_scale.config.rules import Partner, Partners
from ptv2_scale.config.section import Section, Variants
from ptv2_scale.config.values import Count, PathText, Text

TASKS = Variants("task", "kind", default="classification")
Quoting = Literal["csv", "backslash", "none"]


class TaskSection(Section):
    """What every kind of task has.

    Attributes:
        PEFT_TASK_TYPE: PEFT's name of the kind; None: PEFT has no model with such a head.
        FOUND: keys that are found in the data, or are the task's own, where they are null.
    """

    SECTION: ClassVar[str] = "task"
    PEFT_TASK_TYPE: ClassVar[str | None] = None
    FOUND: ClassVar[frozenset[str]] = frozenset()

    kind: str = Field(description="Kind of task.")
    name: Text = Field(
        description="superglue/boolq, glue/sst2, ..., demo, or classification for data of your own."
    )
    path: PathText | None = Field(
        default=None, description="Folder of local files; null: from the hub, or embedded for demo."
    )
    train: Text | None = Field(default=None, description="Training file inside path.")
    validation: Text | None = Field(default=None, description="Validation file inside path.")
    test: Text | None = Field(default=None, description="Test file inside path.")
    quoting: Quoting | None = Field(
        default=None,
        description="Quotes in .csv and .tsv files: csv (doubled inside a quoted field), backslash"
        " (R's write.table) or none (characters like any other); null: none in GLUE's .tsv, else"
        " csv.",
    )
    max_length: Count = Field(default=128, description="Tokens of an example; longer ones are cut.")


@TASKS.add
class Classification(TaskSection):
    """One label out of a fixed set for each row."""

    PARTNERS: ClassVar[Partners] = {
        "text": Partner("name", "classification", needs=True),
        "text_pair": Partner("name", "classification"),
        "label": Partner("name", "classification", needs=True),
    }
    PEFT_TASK_TYPE: ClassVar[str | None] = "SEQ_CLS"
    FOUND: ClassVar[frozenset[str]] = frozenset({"labels", "metric", "positive"})

    @classmethod
    def replaced_by(cls, key: str, value: object) -> set[str]:
        """See `Section`: without f1 no class is its own."""
        idle = {"positive"} if key == "metric" and value != "f1" else set()
        return super().replaced_by(key, value) | idle

    kind: Literal["classification"] = Field(
        default="classification", description="One label out of a fixed set for each row."
    )
    text: Text | None = Field(
        default=None, description="Column of the text; name: classification only."
    )
    text_pair: Text | None = Field(
        default=None, description="Column of a second text; name: classification only."
    )
    label: Text | None = Field(
        default=None, description="Column of the label; name: classification only."
    )
    labels: Annotated[list[Text], Field(min_length=2)] | None = Field(
        default=None,
        description="All labels in their order; null: the task's own, or as found: numbers in"
        " their order, then words in the alphabet's.",
    )
    unlabelled: Literal["refuse", "skip"] = Field(
        default="refuse", description="What to do with a row whose label is missing."
    )
    positive: Text | None = Field(
        default=None, description="The class that metric f1 is of; null: the second."
    )
    metric: Literal["accuracy", "f1", "f1_macro", "matthews"] | None = Field(
        default=None, description="What decides which checkpoint is best; null: the task's own."
    )
    head: Literal["linear", "hf"] | None = Field(
        default=None, description="hf mirrors transformers' own; null: the family's default."
    )
