"""`load_prompted` and `load_row_encoder`: a run or an export in parts, for one's own Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ptv2_scale.backbones.attention_routes import IMPLEMENTATIONS
from ptv2_scale.backbones.load import Unsharded, materialise, usable_device
from ptv2_scale.data.rows import given_rows
from ptv2_scale.export.card import source_folder
from ptv2_scale.inference.exported import open_card, open_export
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.model.setup import build_model, model_filler
from ptv2_scale.runtime.errors import UserError

RowEncoder = Callable[[Sequence[Mapping[str, object]]], dict[str, Tensor]]


def load_prompted(
    source: str | Path,
    *,
    backbone: Any = None,
    device: str | torch.device = "cpu",
    task: str | None = None,
) -> PromptedModel:
    """Load an export, or a finished run, as a plain `nn.Module` in `eval()` mode.

    Args:
        source: folder of the export or the run.
        backbone: name or folder of the backbone, or one that `load_backbone` gave, which is then
            shared; None: what the export names. An export of a method that trains the backbone
            itself takes a name or folder only.
        device: where it goes.
        task: which of several tasks; None: all heads, of which a call names one by `part`.

    Returns:
        A module that maps input_ids and attention_mask [batch, n] to the head's outputs (logits)
        and to features; its `labels` are the names of the outputs, where they have some.

    Raises:
        UserError: the export is damaged, or the backbone is another one, or none that
            `load_backbone` gave.
    """
    place = usable_device(device)
    loaded = None if backbone is None or isinstance(backbone, (str, Path)) else backbone
    export = open_export(source_folder(source), _name(backbone), task=task)
    if loaded is not None and export.setup.config.prompt.TRAINS_BACKBONE:
        raise UserError(
            f"{source}: prompt.method: {export.setup.config.prompt.method} has trained the backbone"
            " itself, so it shares none with others: give the backbone's folder or name."
        )
    model = build_model(export.setup, loaded)
    fill = model_filler(export.setup, model, export.trained)
    materialise(model, fill, Unsharded(place))
    model.labels = export.setup.task.labels
    return model.to(place).requires_grad_(False).eval()


def load_row_encoder(
    source: str | Path,
    *,
    backbone: Any = None,
    device: str | torch.device = "cpu",
    task: str | None = None,
) -> RowEncoder:
    """What makes rows of a task into inputs, the very way training and `predict` do it.

    Examples:
        >>> from ptv2_scale import load_row_encoder
        >>> encode = load_row_encoder("runs/demo")
        >>> encode([{"text": "the room was clean ."}]).keys()
        dict_keys(['input_ids', 'attention_mask'])

    Args:
        source: folder of an export or a finished run, or PEFT's folder that was made of one.
        backbone: see `load_prompted`.
        device: where the inputs go.
        task: which of several tasks.

    Returns:
        A function of a list of rows, each with the task's columns, to tensors [examples, longest]:
        input_ids, attention_mask, and what else the backbone takes.

    Raises:
        UserError: the export is damaged, or the backbone is another one.
    """
    place = usable_device(device)
    _, setup = open_card(source_folder(source), _name(backbone), task=task)

    def encode(rows: Sequence[Mapping[str, object]]) -> dict[str, Tensor]:
        found = given_rows(rows, setup.task.columns)
        if not found:
            raise UserError("rows: found none, expected one at least.")
        return {name: tensor.to(place) for name, tensor in setup.inputs(found).items()}

    return encode


def _name(backbone: Any) -> str | None:
    """The folder of a backbone that was named or loaded; None: the export's own."""
    if backbone is None or isinstance(backbone, (str, Path)):
        name = backbone
    else:
        _check_loaded(backbone)
        name = backbone.config.name_or_path
    return str(name) if name else None


def _check_loaded(backbone: Any) -> None:
    """A model with a task head, or with attention of its own, would not take a prefix."""
    if (
        not isinstance(backbone, PreTrainedModel)
        or backbone.config._attn_implementation not in IMPLEMENTATIONS.values()
        or backbone.base_model is not backbone
    ):
        raise UserError(
            f"backbone: found a {type(backbone).__name__}, expected what load_backbone(FOLDER)"
            " gives, which has no task head and whose attention takes a prefix; or give the"
            " folder's path."
        )
