"""The section `task` of a recipe for several tasks that share what is trained but their heads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from ptv2_scale.config.rules import Partner, Partners
from ptv2_scale.config.task import SINGLE_TASKS, TASKS, AnyTask, TaskSection

# A task's name stands in names of metrics, parameters and keys: "ner/f1", "head.ner.out_proj".
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")


def _named(tasks: dict[str, TaskSection]) -> dict[str, TaskSection]:
    for name in tasks:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r:.60} is no name for a task; expected a letter, then letters, digits, _"
                " and -"
            )
    return tasks


Tasks = Annotated[
    dict[str, Annotated[TaskSection, SINGLE_TASKS]], Field(min_length=2), AfterValidator(_named)
]


@TASKS.add
class Multi(AnyTask):
    """Several tasks with one shared prompt and a head each (MPT-2 in the paper)."""

    NAMES: ClassVar[tuple[str, ...]] = ("multi",)
    PARTNERS: ClassVar[Partners] = {"temperature": Partner("sampling", "temperature")}

    kind: Literal["multi"] = Field(
        default="multi", description="Several tasks, each with a head of its own."
    )
    tasks: Tasks = Field(
        description="The tasks: a section `task` each, below a name of your choice."
    )
    sampling: Literal["size", "equal", "temperature"] = Field(
        default="size",
        description="Share of a task's batches: by its rows, the same for all, or by its rows to"
        " the power of 1/temperature.",
    )
    temperature: Annotated[float, Field(ge=1, le=100)] = Field(
        default=2.0,
        description="At 1 tasks are sampled by their sizes; the higher, the more equally.",
    )

    def weight(self, examples: int) -> float:
        """See `AnyTask`."""
        powers = {"size": 1.0, "equal": 0.0, "temperature": 1 / self.temperature}
        return float(examples ** powers[self.sampling])

    @property
    def single(self) -> Mapping[str, TaskSection]:
        """See `AnyTask`."""
        return {f"task.tasks.{name}": task for name, task in self.tasks.items()}
