"""What a user takes away: prefix and head as safetensors, a JSON card, a model card for people."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor

from ptv2_scale.backbones.sizes import MAX_SIZE
from ptv2_scale.backbones.weights import TensorFile
from ptv2_scale.config import Prefix, RunConfig
from ptv2_scale.export.tensors import PREFIX, TABLE, exported, write_tensors
from ptv2_scale.methods.prefix.encoder import PrefixShape
from ptv2_scale.methods.prefix.files import (
    PROMPT_FILE,
    read_flat_prefix,
    read_tensors,
    write_peft,
)
from ptv2_scale.model.setup import Setup, head_kind
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import read_json
from ptv2_scale.tasks.heads import HeadKind

CARD_FILE = "card.json"
FORMAT = 1

Size = Annotated[int, Field(ge=1, le=MAX_SIZE)]


@dataclass(frozen=True)
class Card:
    """What is to be known of an export, beside its tensors.

    Attributes:
        backbone: name or folder it was trained on.
        family: of the backbone.
        fingerprint: of the backbone's weights.
        recipe: resolved.
        labels: in the order of the logits.
        head: kind of head: "linear", "bert", "roberta" or "score".
        length, slots, kv_heads, head_dim: sizes of the prefix; no length and no slots for a head
            trained alone.
        every_slot: whether every attention module that can be prompted is.
        result: the run's result.json, if it was finished.
        format: of these files.
    """

    backbone: str
    family: str
    fingerprint: str
    recipe: dict[str, Any]
    labels: tuple[str, ...]
    head: HeadKind
    length: Size | None
    slots: tuple[tuple[str, int], ...]
    kv_heads: Size
    head_dim: Size
    every_slot: bool
    result: dict[str, Any]
    format: int = FORMAT

    @classmethod
    def of(cls, setup: Setup, result: dict[str, Any]) -> Card:
        """The card of a run."""
        shape, family, config = setup.shape, setup.files.family, setup.files.config
        slots = () if shape is None else shape.slots
        return cls(
            backbone=setup.config.backbone.name,
            family=family.name,
            fingerprint=setup.fingerprint,
            recipe=setup.config.model_dump(mode="json"),
            labels=tuple(setup.task.labels),
            head=head_kind(setup),
            length=None if shape is None else shape.length,
            slots=slots,
            kv_heads=family.kv_heads(config),
            head_dim=family.head_dim(config),
            every_slot=len(slots) == sum(stack.layers(config) for stack in family.stacks),
            result=result,
        )

    @property
    def shape(self) -> PrefixShape | None:
        """Sizes of the prefix, its MLP folded in."""
        if self.length is None:
            return None
        return PrefixShape(self.length, self.slots, self.kv_heads, self.head_dim)

    def config(self) -> RunConfig:
        """The recipe, as a run would have it; its labels are the card's."""
        config = RunConfig.model_validate(self.recipe)
        if config.task.name not in ("classification", "demo"):
            return config
        task = config.task.model_copy(update={"labels": list(self.labels)})
        return config.model_copy(update={"task": task})


_CARD = TypeAdapter(Card)


def write_export(
    folder: Path, card: Card, trained: TensorFile, *, replace_existing: bool = False
) -> None:
    """Write an export.

    Args:
        folder: made here; must not exist unless `replace_existing`.
        card: about it.
        trained: trained tensors by their name in `PromptedModel`, of any size.
        replace_existing: a run's own export/ is made anew when the run is finished again.

    Raises:
        UserError: the folder exists, or cannot be written.
    """
    with _published(folder, replace_existing) as building:
        write_tensors(building / PROMPT_FILE, exported(trained))
        (building / CARD_FILE).write_text(json.dumps(asdict(card), indent=1) + "\n")
        (building / "README.md").write_text(model_card(card))


@contextmanager
def _published(folder: Path, replace_existing: bool = False) -> Iterator[Path]:
    """A folder to be filled, which takes the place of `folder` when the block ends without error.

    Raises:
        UserError: the folder exists, or cannot be written.
    """
    # A link counts, wherever it leads to: what it names is not ours to replace.
    if os.path.islink(folder) or (os.path.lexists(folder) and not replace_existing):
        raise UserError(f"{folder}: exists already, and nothing is overwritten. Name another one.")
    building = folder.with_name(f".{folder.name}.building")
    try:
        if os.path.lexists(building):
            shutil.rmtree(building)  # raises for a link
        building.mkdir(parents=True)
        yield building
        if folder.exists():
            shutil.rmtree(folder)
        building.rename(folder)
    except OSError as error:
        shutil.rmtree(building, ignore_errors=True)
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}).") from None


def read_card(folder: Path) -> Card:
    """The card of an export, or of the export in a finished run's directory.

    Raises:
        UserError: there is none, or one of another format.
    """
    path = export_folder(folder) / CARD_FILE
    raw = read_json(path)
    if not isinstance(raw, dict) or "format" not in raw:
        raise UserError(f"{path}: not a readable card: it names no format.")
    if raw["format"] != FORMAT:
        raise UserError(f"{path}: format {raw['format']!r}; this version reads {FORMAT}.")
    try:
        card = _CARD.validate_python(raw)
        card.config()
        model_card(card)  # an export that cannot be told about cannot be exported again either
        return card
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the recipe"
        raise UserError(f"{path}: not a readable card: {where}: {first['msg']}.") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a readable card: result: {error}.") from None


def export_folder(folder: Path) -> Path:
    """`folder` itself, or its export/ where it is a run's directory.

    Raises:
        UserError: neither is an export.
    """
    for candidate in (folder, folder / "export"):
        if os.path.isfile(candidate / CARD_FILE):
            return candidate
    if os.path.isdir(folder / "checkpoints"):
        raise UserError(
            f"{folder}: this run is not finished. Make an export of its newest checkpoint:"
            f" ptv2-scale export {folder} OUT"
        )
    raise UserError(f"{folder}: neither an export nor a run: no {CARD_FILE} in it or in export/.")


def read_values(folder: Path) -> dict[str, Tensor]:
    """Trained tensors of an export by their name in `PromptedModel`, the prefix as a table."""
    tensors = read_tensors(export_folder(folder) / PROMPT_FILE)
    flat = tensors.pop(PREFIX, None)
    if flat is not None:
        tensors[TABLE] = flat
    return tensors


# What stands before the names of our heads' tensors in transformers' models.
_HEAD_STEMS = {"bert": "", "roberta": "classifier.", "score": ""}


def export_peft(source: Path, folder: Path) -> None:
    """Turn an export into PEFT's PREFIX_TUNING folder.

    Raises:
        UserError: PEFT cannot express this prefix or this head; says why.
    """
    card = read_card(source)
    reason = _peft_refusal(card)
    if reason:
        raise UserError(f"{source}: PEFT's PREFIX_TUNING cannot express this export: {reason}.")
    shape = card.shape
    assert shape is not None
    flat = read_flat_prefix(export_folder(source) / PROMPT_FILE, shape)
    values = read_values(source)
    del values[TABLE]
    with _published(folder) as building:
        write_peft(building, flat, shape, _transformers_head(card, values), card.backbone)
        (building / "README.md").write_text(model_card(card))


def _transformers_head(card: Card, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    stem = _HEAD_STEMS[card.head]
    return {stem + name.removeprefix("head."): value for name, value in values.items()}


def _peft_refusal(card: Card) -> str | None:
    prompt = card.config().prompt
    if card.length is None or not isinstance(prompt, Prefix):
        return "it has no prefix"
    if card.family == "T5":
        return "it gives T5's encoder and cross-attention no prefix, and no T5 classification head"
    if card.family == "classic GLM":
        return "it works on transformers' models, and transformers has no classic GLM"
    if not card.every_slot:
        return f"it prompts every layer, and this prefix is in layers {prompt.layers} only"
    if prompt.positions != "shift":
        return "it always shifts positions, and this prefix was trained with positions: keep"
    if card.head == "linear":
        return "its head is not transformers' own; train with task.head: hf"
    return None


def model_card(card: Card) -> str:
    """A README for the export, with the metadata block that model hubs read."""
    result = card.result
    what = "prefix and head" if card.length else "head"
    lines = [
        "---",
        "library_name: ptv2_scale",
        f"base_model: {json.dumps(card.backbone)}",
        "tags: [p-tuning-v2, prefix-tuning]",
        "---",
        f"# {what.capitalize()} for {card.recipe['task']['name']}",
        "",
        f"Trained with ptv2_scale on the frozen {card.family} backbone `{card.backbone}`"
        f" (fingerprint `{card.fingerprint[:16]}`).",
        "",
        f"- labels: {', '.join(card.labels)}",
        f"- prefix: {card.length or 'none'} tokens in {len(card.slots)} attention modules",
    ]
    if result:
        lines += [
            f"- {result['metric']} on {result['split']}: {result['value']:.4f}"
            f" (most frequent class alone: {result['majority']:.4f})",
            f"- trained parameters: {result['trained_parameters']:,} beside"
            f" {result['backbone_parameters']:,} frozen ones",
        ]
    lines += [
        "",
        "```python",
        "from ptv2_scale import load_prompted",
        "",
        f"model = load_prompted(FOLDER, backbone={card.backbone!r})",
        "```",
        "",
    ]
    return "\n".join(lines)
