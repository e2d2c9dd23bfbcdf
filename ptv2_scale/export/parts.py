"""One task of an export of several: the shared prompt with that task's head alone."""

from __future__ import annotations

from dataclasses import replace

from ptv2_scale.backbones.tensor_files import Tensors
from ptv2_scale.backbones.weights import TensorFile
from ptv2_scale.config import Multi
from ptv2_scale.export.card import Card
from ptv2_scale.runtime.errors import UserError, did_you_mean

HEAD = "head."


def card_of_part(card: Card, name: str | None) -> Card:
    """The card of one task.

    Args:
        card: of an export.
        name: of one of its tasks; None: the export as it is.

    Raises:
        UserError: it has no such task.
    """
    if name is None:
        return card
    task = card.config().task
    if not isinstance(task, Multi):
        raise UserError(f"--task {name}: the export is of one task, {task.name}. Leave it out.")
    if not isinstance(name, str) or name not in task.tasks:
        names = list(task.tasks)
        raise UserError(
            f"--task {name}: the tasks are {', '.join(names)}.{did_you_mean(str(name), names)}"
        )
    about = [line.removeprefix(f"{name}: ") for line in card.about if _is_about(line, name, task)]
    recipe = {**card.recipe, "task": card.recipe["task"]["tasks"][name]}
    # The run's result is that of all tasks.
    return replace(
        card, recipe=recipe, head=card.heads[name], heads={}, about=tuple(about), result={}
    )


def _is_about(line: str, name: str, task: Multi) -> bool:
    return line.startswith(f"{name}: ") or line.partition(": ")[0] not in task.tasks


def tensors_of_part(trained: TensorFile, name: str | None) -> TensorFile:
    """Trained tensors of one task, by name in `PromptedModel`; see `card_of_part`."""
    if name is None:
        return trained
    own = f"{HEAD}{name}."
    kept = [one for one in trained.names() if one.startswith(own) or not one.startswith(HEAD)]
    names = {one: HEAD + one.removeprefix(own) for one in kept if one.startswith(own)}
    return Tensors.of(trained, kept).renamed(names)
