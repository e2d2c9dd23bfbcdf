"""An export as PEFT's folder, where PEFT can express it."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from ptv2_scale.backbones.tensor_files import read_whole
from ptv2_scale.backbones.weights import TensorFile
from ptv2_scale.export.card import Card, export_folder, model_card, read_card
from ptv2_scale.export.native import published, trained_tensors
from ptv2_scale.methods.base import PROMPT_FILE, PeftFiles
from ptv2_scale.methods.registry import method_type
from ptv2_scale.runtime.errors import UserError

# What stands before the names of our heads' tensors in transformers' models.
_HEAD_STEMS = {"bert": "", "roberta": "classifier.", "score": ""}


def export_peft(source: Path, folder: Path) -> None:
    """Turn an export into the folder that PEFT reads.

    Raises:
        UserError: PEFT cannot express this method, backbone or head; says why.
    """
    card = read_card(source)
    files = _files(card, export_folder(source) / PROMPT_FILE)
    if isinstance(files, str):
        raise UserError(f"{source}: PEFT's PREFIX_TUNING cannot express this export: {files}.")
    head = _transformers_head(card, trained_tensors(source))
    with published(folder) as building:
        _write(building, files, head, card)
        (building / "README.md").write_text(model_card(card))


def _files(card: Card, file: Path) -> PeftFiles | str:
    config = card.config()
    files = method_type(config.prompt).to_peft(config.prompt, card.method, file)
    if isinstance(files, str):
        return files
    return _refusal(card, config.task.PEFT_TASK_TYPE) or files


def _refusal(card: Card, task_type: str | None) -> str | None:
    if card.family == "T5":
        return "it gives T5's encoder and cross-attention no prefix, and no T5 classification head"
    if card.family == "classic GLM":
        return "it works on transformers' models, and transformers has no classic GLM"
    if task_type is None:
        return "it has no model for this kind of task"
    if card.head not in _HEAD_STEMS:
        return "its head is not transformers' own; train with task.head: hf"
    return None


def _transformers_head(card: Card, trained: TensorFile) -> dict[str, Tensor]:
    stem = _HEAD_STEMS[card.head]
    return {
        stem + name.removeprefix("head."): read_whole(trained, name)
        for name in trained.names()
        if name.startswith("head.")
    }


def _write(folder: Path, files: PeftFiles, head: dict[str, Tensor], card: Card) -> None:
    config = {
        **files.config,
        "task_type": card.config().task.PEFT_TASK_TYPE,
        "base_model_name_or_path": card.backbone,
        "inference_mode": True,
        "modules_to_save": sorted({name.partition(".")[0] for name in head}),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    tensors = {f"base_model.{name}": value.contiguous() for name, value in head.items()}
    save_file({**tensors, **files.tensors}, folder / "adapter_model.safetensors", {"format": "pt"})
