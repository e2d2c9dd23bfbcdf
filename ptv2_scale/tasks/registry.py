"""Which kinds of tasks there are; a recipe's `task` becomes a `Task`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ptv2_scale.config import TASKS, AnyTask, Multi, TaskSection, register_section
from ptv2_scale.tasks.base import Task
from ptv2_scale.tasks.kinds import choice, classification, regression, span, tagging, text
from ptv2_scale.tasks.multi import MultiTask

# The section of a kind -> the task.
Build = Callable[[Any], Task]

KINDS: dict[str, Build] = {
    "choice": choice.build,
    "classification": classification.build,
    "regression": regression.build,
    "span": span.build,
    "tagging": tagging.build,
    "text": text.build,
}


def register_kind(section: type[TaskSection], build: Build) -> None:
    """Let recipes name another kind of task.

    Args:
        section: its section of a recipe, whose `kind` is a Literal of its name.
        build: makes the task of such a section; see `Task`.

    Raises:
        ValueError: another kind has this name.
    """
    register_section(TASKS, section)
    KINDS[TASKS.name_of_model(section)] = build


def build_task(section: AnyTask) -> Task:
    """The task of a recipe's section.

    Raises:
        UserError: the task's name is not known, or a key is missing or of no meaning for it.
    """
    if isinstance(section, Multi):
        parts = {name: build_task(task) for name, task in section.tasks.items()}
        return MultiTask(section, parts)
    return KINDS[section.kind](section)
