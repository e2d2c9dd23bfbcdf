"""`load_prompted`: a run or an export as a plain module, for one's own Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from ptv2_scale.backbones.attention import IMPLEMENTATION
from ptv2_scale.backbones.load import Unsharded, materialise, usable_device
from ptv2_scale.export.card import source_folder
from ptv2_scale.inference.exported import open_export
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.model.setup import build_model, model_filler
from ptv2_scale.runtime.errors import UserError


def load_prompted(
    source: str | Path, *, backbone: Any = None, device: str | torch.device = "cpu"
) -> PromptedModel:
    """Load an export, or a finished run, as a plain `nn.Module` in `eval()` mode.

    Args:
        source: folder of the export or the run.
        backbone: name or folder of the backbone, or one that `load_backbone` gave, which is then
            shared; None: what the export names.
        device: where it goes.

    Returns:
        A module that maps input_ids and attention_mask [batch, n] to the head's outputs (logits)
        and to features.

    Raises:
        UserError: the export is damaged, or the backbone is another one, or none that
            `load_backbone` gave.
    """
    place = usable_device(device)
    loaded = None if backbone is None or isinstance(backbone, (str, Path)) else backbone
    if loaded is not None:
        _check_loaded(loaded)
    name = backbone if loaded is None else loaded.config.name_or_path
    export = open_export(source_folder(source), None if not name else str(name))
    model = build_model(export.setup, loaded)
    fill = model_filler(export.setup, model, export.trained)
    materialise(model, fill, Unsharded(place))
    return model.to(place).requires_grad_(False).eval()


def _check_loaded(backbone: Any) -> None:
    """A model with a task head, or with attention of its own, would not take a prefix."""
    if (
        not isinstance(backbone, PreTrainedModel)
        or backbone.config._attn_implementation != IMPLEMENTATION
        or backbone.base_model is not backbone
    ):
        raise UserError(
            f"backbone: found a {type(backbone).__name__}, expected what load_backbone(FOLDER)"
            " gives, which has no task head and whose attention takes a prefix; or give the"
            " folder's path."
        )
