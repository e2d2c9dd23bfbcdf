"""An export as PEFT's folder, where PEFT can express it."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from ptv2_scale.backbones.families import FAMILIES
from ptv2_scale.backbones.tensor_files import read_whole
from ptv2_scale.backbones.weights import TensorFile
from ptv2_scale.export.card import CARD_FILE, Card, card_text, export_folder, model_card, read_card
from ptv2_scale.export.native import PEFT_FILE, README, published, trained_tensors
from ptv2_scale.methods.base import PROMPT_FILE, PeftFiles
from ptv2_scale.methods.registry import method_type
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.registry import build_task

# The class of transformers for a kind of task of PEFT's.
_MODELS = {
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
}
# What stands before the names of our heads' tensors in it.
_HEAD_STEMS = {"bert": "", "roberta": "classifier.", "score": ""}
# The layer of a head on every token, by kind of task and family.
_TOKEN_LAYERS = {
    "TOKEN_CLS": {
        **dict.fromkeys(("BERT", "RoBERTa", "GPT-2", "GPT-NeoX"), "classifier"),
        **dict.fromkeys(("Llama", "Mistral", "Qwen", "GLM-4", "Phi-3"), "score"),
    },
    "QUESTION_ANS": dict.fromkeys(
        ("BERT", "RoBERTa", "GPT-2", "GPT-NeoX", "OPT", "Llama", "Mistral", "Qwen"), "qa_outputs"
    ),
}
# Last lines of an example.
_ANSWERS = {
    "SEQ_CLS": (
        "    logits = [model(**encode([row])).logits[0] for row in ROWS]",
        "answers = [labels[int(one.argmax())] for one in logits]",
    ),
    "TOKEN_CLS": (
        "    logits = [model(**encode([row])).logits for row in ROWS]  # [windows, tokens, labels]",
        "answers = [[labels[int(n)] for n in one[0].argmax(-1)] for one in logits]  # by token",
    ),
    "QUESTION_ANS": (
        "    found = [model(**encode([row])) for row in ROWS]",
        "answers = [(one.start_logits, one.end_logits) for one in found]  # [windows, tokens] each",
    ),
}
# How an example gets the names of classes.
_NAMES = (
    f'config = json.loads((Path(FOLDER) / "{PEFT_FILE}").read_text())',
    'labels = {{int(n): one for n, one in config["auto_mapping"]["id2label"].items()}}',
)


def export_peft(source: Path, folder: Path) -> None:
    """Turn an export into the folder that PEFT reads.

    Raises:
        UserError: PEFT cannot express this method, backbone or head; says why.
    """
    card = read_card(source)
    files = _files(card, export_folder(source) / PROMPT_FILE)
    if isinstance(files, str):
        raise UserError(f"{source}: PEFT cannot express this export: {files}.")
    head = _transformers_head(card, trained_tensors(source))
    with published(folder) as building:
        _write(building, files, head, card)
        (building / CARD_FILE).write_text(card_text(card))
        (building / README).write_text(model_card(card, _example(card)))


def _labels(card: Card) -> dict[str, dict[str, object]]:
    """Names of the classes, as a config.json of transformers has them."""
    labels = build_task(card.config().task).labels
    return {
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
    }


def _example(card: Card) -> list[str]:
    """How PEFT uses the folder."""
    task_type = card.config().task.PEFT_TASK_TYPE or ""
    model = _MODELS[task_type]
    # Two scores a token have no names.
    named = task_type != "QUESTION_ANS"
    options = ", num_labels=len(labels), id2label=labels" if named else ""
    return [
        *(("import json", "from pathlib import Path") if named else ()),
        "import torch",
        "from peft import PeftModel",
        f"from transformers import {model}",
        "from ptv2_scale import load_row_encoder",
        "",
        *(_NAMES if named else ()),
        f"base = {model}.from_pretrained({{backbone}}{options})",
        "model = PeftModel.from_pretrained(base, FOLDER).eval()",
        "encode = load_row_encoder(FOLDER, backbone={backbone})",
        "with torch.no_grad():",
        *_ANSWERS[task_type],
    ]


def _files(card: Card, file: Path) -> PeftFiles | str:
    config = card.config()
    files = method_type(config.prompt).to_peft(config.prompt, card.method, file)
    if isinstance(files, str):
        return files
    reason = _refusal(card, config.task.PEFT_TASK_TYPE, files.heads)
    if reason is None and files.max_length is not None:
        reason = _window_refusal(config.task.longest, files.max_length)
    return reason or files


def _window_refusal(wanted: int, room: int) -> str | None:
    if wanted <= room:
        return None
    return (
        "it counts the prefix in the backbone's sliding window, which hides it from texts longer"
        f" than {max(room, 0)} tokens, and task.max_length is {wanted}"
    )


def _refusal(card: Card, task_type: str | None, heads: Collection[str]) -> str | None:
    if card.config().backbone.quantization is not None:
        return "it was trained on a backbone in 8 bits of our own, which PEFT does not load"
    families = {family.name: family for family in FAMILIES}
    if card.family in families and families[card.family].no_peft is not None:
        return families[card.family].no_peft
    if task_type not in _MODELS:
        return "it has no model for this kind of task"
    if card.head == "token" and card.family not in _TOKEN_LAYERS[task_type]:
        return f"no {card.family} model of transformers is known here for this kind of task"
    if card.head not in (*_HEAD_STEMS, "token"):
        return "its head is not transformers' own; train with task.head: hf"
    if card.head not in heads:
        return f"in PEFT, {card.family}'s own head reads another column of its input"
    return None


def _transformers_head(card: Card, trained: TensorFile) -> dict[str, Tensor]:
    return {
        _transformers_name(card, name.removeprefix("head.")): read_whole(trained, name)
        for name in trained.names()
        if name.startswith("head.")
    }


def _transformers_name(card: Card, name: str) -> str:
    """Name of a head's tensor in the model of transformers."""
    if card.head != "token":
        return _HEAD_STEMS[card.head] + name
    layer = _TOKEN_LAYERS[card.config().task.PEFT_TASK_TYPE or ""][card.family]
    return name.replace("out_proj", layer)


def _write(folder: Path, files: PeftFiles, head: dict[str, Tensor], card: Card) -> None:
    config = {
        **files.config,
        "task_type": card.config().task.PEFT_TASK_TYPE,
        "base_model_name_or_path": card.backbone,
        "inference_mode": True,
        # A free field of PEFT's; a key that it does not know is an error to its older versions.
        "auto_mapping": _labels(card),
        "modules_to_save": sorted({name.partition(".")[0] for name in head}),
    }
    (folder / PEFT_FILE).write_text(json.dumps(config, indent=2) + "\n")
    tensors = {f"{files.head_stem}{name}": value.contiguous() for name, value in head.items()}
    save_file({**tensors, **files.tensors}, folder / "adapter_model.safetensors", {"format": "pt"})
