"""The section `task` of a recipe, as far as it is the same for every kind of task."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from ptv2_scale.config.section import Section, Variants
from ptv2_scale.config.values import Count, PathText, Text

TASKS = Variants("task", "kind", default="classification")
SINGLE_TASKS = TASKS.without("multi")
Quoting = Literal["csv", "backslash", "none"]


class AnyTask(Section):
    """What the section of every kind of task has.

    Attributes:
        PEFT_TASK_TYPE: PEFT's name of the kind; None: PEFT has no model with such a head.
        FOUND: keys that are found in the data, or are the task's own, where they are null.
    """

    SECTION: ClassVar[str] = "task"
    PEFT_TASK_TYPE: ClassVar[str | None] = None
    FOUND: ClassVar[frozenset[str]] = frozenset()

    kind: str = Field(description="Kind of task.")
    name: Text = Field(
        description="A benchmark (superglue/boolq, glue/sst2, ...), demo, or the kind of task for"
        " data of your own; it says which kind the task is."
    )

    @property
    @abstractmethod
    def single(self) -> Mapping[str, TaskSection]:
        """The tasks of which it consists, by their keys in a recipe: "task", "task.tasks.ner"."""

    def weight(self, examples: int) -> float:
        """Weight of one of several tasks in the sampling of batches, from its examples."""
        return float(examples)

    @property
    def longest(self) -> int:
        """Tokens of the longest example of any of its tasks."""
        return max(task.max_length for task in self.single.values())

    @property
    def room(self) -> int:
        """Tokens that a backbone must have positions for."""
        return self.longest


class TaskSection(AnyTask):
    """What the section of a task with rows of its own has."""

    path: PathText | None = Field(
        default=None,
        description="Folder of local files; null: from the hub, or embedded (demo, demo-tags).",
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

    @property
    def single(self) -> Mapping[str, TaskSection]:
        """See `AnyTask`: itself."""
        return {"task": self}
