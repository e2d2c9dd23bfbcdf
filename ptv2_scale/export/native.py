"""What a user takes away: trained tensors as safetensors, a JSON card, a model card for people."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from ptv2_scale.backbones.tensor_files import read_tensors
from ptv2_scale.export.card import CARD_FILE, Card, export_folder, model_card, read_card
from ptv2_scale.methods.base import PROMPT_FILE
from ptv2_scale.methods.registry import method_type
from ptv2_scale.runtime.errors import UserError


def write_export(
    folder: Path, card: Card, values: Mapping[str, Tensor], *, replace_existing: bool = False
) -> None:
    """Write an export.

    Args:
        folder: made here; must not exist unless `replace_existing`.
        card: about it.
        values: trained tensors by their name in `PromptedModel`, whole, fp32.
        replace_existing: a run's own export/ is made anew when the run is finished again.

    Raises:
        UserError: the folder exists.
    """
    building = begin_folder(folder, replace_existing)
    tensors = exported_tensors(card, values)
    save_file(
        {name: value.detach().contiguous() for name, value in tensors.items()},
        building / PROMPT_FILE,
        metadata={"format": "pt"},
    )
    (building / CARD_FILE).write_text(json.dumps(asdict(card), indent=1) + "\n")
    (building / "README.md").write_text(model_card(card))
    finish_folder(building, folder)


def begin_folder(folder: Path, replace_existing: bool) -> Path:
    """The folder beside `folder` in which an export is made; UserError if that exists."""
    # A link counts, wherever it leads to: what it names is not ours to replace.
    if os.path.islink(folder) or (os.path.lexists(folder) and not replace_existing):
        raise UserError(f"{folder}: exists already, and nothing is overwritten. Name another one.")
    building = folder.with_name(f".{folder.name}.building")
    try:
        if os.path.lexists(building):
            shutil.rmtree(building)  # raises for a link
        building.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}).") from None
    return building


def finish_folder(building: Path, folder: Path) -> None:
    """Give a finished export its name."""
    if folder.exists():
        shutil.rmtree(folder)
    building.rename(folder)


def exported_tensors(card: Card, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of an export, from trained ones by their name in `PromptedModel`."""
    head, rest = _apart(values)
    return {**head, **method_type(card.config().prompt).to_export(rest)}


def read_values(folder: Path) -> dict[str, Tensor]:
    """Trained tensors of an export by their name in `PromptedModel`, an MLP folded in."""
    card = read_card(folder)
    head, rest = _apart(read_tensors(export_folder(folder) / PROMPT_FILE))
    return {**head, **method_type(card.config().prompt).from_export(rest)}


def _apart(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Those of the head, and the rest."""
    head = {name: value for name, value in tensors.items() if name.startswith("head.")}
    return head, {name: value for name, value in tensors.items() if name not in head}
