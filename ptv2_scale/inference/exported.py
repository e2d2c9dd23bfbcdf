"""An export, or a finished run, opened for use on a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ptv2_scale.backbones.weights import TensorFile
from ptv2_scale.config import RunConfig, backbone_override, override
from ptv2_scale.export.card import MEANING, Card, read_card
from ptv2_scale.export.native import trained_tensors
from ptv2_scale.export.parts import card_of_part, tensors_of_part
from ptv2_scale.model.setup import Setup, build_model, open_setup
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.run_identity import TOKENIZER


@dataclass(frozen=True)
class Export:
    """One export, opened for use on a backbone.

    Attributes:
        name: name of its folder.
        card: about it.
        setup: its recipe, with the backbone it is to run on.
        trained: its trained tensors by name in `PromptedModel`.
    """

    name: str
    card: Card
    setup: Setup
    trained: TensorFile


def open_card(
    folder: Path,
    backbone: str | None = None,
    overrides: Sequence[str] = (),
    task: str | None = None,
) -> tuple[Card, Setup]:
    """The card of an export or a finished run, and what its recipe names; no trained tensors.

    Args:
        folder: see `open_export`; PEFT's folder with a card in it will do.
        backbone: see `open_export`.
        overrides: see `open_export`.
        task: see `open_export`.

    Raises:
        UserError: it is damaged, the backbone or the tokenizer is another one than it was trained
            on, or an override would change what its tensors mean.
    """
    card = card_of_part(read_card(folder), task)
    config = override(card.config(), [*overrides, *backbone_override(backbone)])
    _check_overrides(folder, card.config(), config)
    setup = open_setup(config)
    if setup.fingerprint != card.fingerprint:
        raise UserError(
            f"{folder}: was trained on another backbone (fingerprint {card.fingerprint[:12]};"
            f" '{config.backbone.name}' has {setup.fingerprint[:12]})."
        )
    for what in card.identity.differences(setup.identity):
        where = (what == TOKENIZER and config.backbone.tokenizer) or config.backbone.name
        raise UserError(
            f"{folder}: {what} in {where} is another than it was trained with. Restore it, or name"
            " the right folder with --backbone."
        )
    return card, setup


def open_export(
    folder: Path,
    backbone: str | None = None,
    overrides: Sequence[str] = (),
    task: str | None = None,
) -> Export:
    """Open an export, or a finished run.

    Args:
        folder: of the export or the run.
        backbone: name or folder, where it is not the one the card names.
        overrides: of its recipe, `task.path=FOLDER` and the like.
        task: which of several tasks; None: the export as it is.

    Raises:
        UserError: it is damaged, it has no such task, or the backbone is another one than it was
            trained on.
    """
    card, setup = open_card(folder, backbone, overrides, task)
    trained = tensors_of_part(trained_tensors(folder), task)
    _check_shapes(folder, setup, trained)
    return Export(folder.resolve().name, card, setup, trained)


def _check_overrides(folder: Path, trained: RunConfig, used: RunConfig) -> None:
    """Refuse overrides of what the trained tensors mean: another order of labels would be silent.

    Raises:
        UserError: names the key.
    """
    before, now = _meaning(trained), _meaning(used)
    for key in before | now:
        if before.get(key) != now.get(key):
            raise UserError(
                f"{folder}: {key} is a part of what was trained, and cannot be set anew. Leave it"
                " out, or train with it."
            )


def _meaning(config: RunConfig) -> dict[str, object]:
    """What the trained tensors mean, by its key in the recipe; of several tasks that of each."""
    tasks = {"task": config.task, **config.task.single}
    found = {
        f"{section}.{key}": getattr(task, key, None)
        for section, task in tasks.items()
        for key in MEANING
    }
    return {
        "prompt": config.prompt,
        "backbone.quantization": config.backbone.quantization,
        **found,
    }


def _check_shapes(folder: Path, setup: Setup, trained: TensorFile) -> None:
    wanted = build_model(setup).trained()
    expected = {name: list(value.shape) for name, value in wanted.items()}
    found = {name: list(trained.shape(name)) for name in trained.names()}
    wrong = sorted(
        name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
    )
    if wrong:
        name = wrong[0]
        raise UserError(
            f"{folder}: its tensors are not those of its recipe: {name} is"
            f" {found.get(name, 'missing')}, expected {expected.get(name, 'none')}."
        )
