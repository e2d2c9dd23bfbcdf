"""`load_prompted`: a run or an export as a plain module, for one's own Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ptv2_scale.backbones.load import Unsharded, materialise
from ptv2_scale.inference.exported import open_export
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.model.setup import build_model, model_filler


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
        UserError: the export is damaged, or the backbone is another one.
    """
    loaded = None if backbone is None or isinstance(backbone, (str, Path)) else backbone
    name = backbone if loaded is None else loaded.config.name_or_path
    export = open_export(Path(source), None if not name else str(name))
    model = build_model(export.setup, loaded)
    fill = model_filler(export.setup, model, export.trained)
    materialise(model, fill, Unsharded(torch.device(device)))
    return model.to(device).requires_grad_(False).eval()
