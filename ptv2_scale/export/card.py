"""The card of an export: what is to be known of it beside its tensors, for programs and people."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ptv2_scale.config import Multi, RunConfig
from ptv2_scale.export.older import upgraded
from ptv2_scale.methods.registry import method_type
from ptv2_scale.model.setup import Setup, build_head
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import read_json
from ptv2_scale.runtime.run_identity import RunIdentity

CARD_FILE = "card.json"
# Keys of a task's section that trained tensors get their meaning from.
MEANING = ("kind", "name", "labels", "choose", "head", "subword", "pattern", "verbalizer")
FORMAT = 2


@dataclass(frozen=True)
class Card:
    """What is to be known of an export, beside its tensors.

    Attributes:
        backbone: name or folder it was trained on.
        family: of the backbone.
        fingerprint: of the backbone's weights.
        identity: of what else it depends on, without rows; exports of 0.1.0 have none.
        recipe: resolved, with what was found in the data and without what the export folds away.
        head: kind of head: "linear", "bert", "roberta", "score" or another task's own.
        heads: kind of each task's head, by the tasks' names, where there are several.
        method: what the method's own reader must know, see `Method.facts`.
        about: lines about task and method for people.
        result: the run's result.json, if it was finished.
        digest: of what the tensors mean, so that an edited card is noticed; "": not known.
        format: of these files.
    """

    backbone: str
    family: str
    fingerprint: str
    recipe: dict[str, Any]
    head: str
    method: dict[str, Any]
    about: tuple[str, ...]
    result: dict[str, Any]
    identity: RunIdentity = field(default_factory=RunIdentity)
    heads: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    format: int = FORMAT

    @classmethod
    def of(cls, setup: Setup, result: dict[str, Any]) -> Card:
        """The card of a run."""
        head = build_head(setup)
        return cls(
            backbone=setup.config.backbone.name,
            family=setup.files.family.name,
            fingerprint=setup.fingerprint,
            recipe=_as_exported(setup).model_dump(mode="json"),
            head=head.KIND,
            heads={name: one.KIND for name, one in head.parts().items()},
            method=setup.method.facts(),
            about=(*setup.task.describe(), *setup.method.describe()),
            result=result,
            identity=setup.identity,
        )

    def config(self) -> RunConfig:
        """The recipe, as a run would have it."""
        return RunConfig.model_validate(self.recipe)


def _as_exported(setup: Setup) -> RunConfig:
    return setup.config.model_copy(update={"prompt": setup.config.prompt.as_exported()})


def card_text(card: Card) -> str:
    """The card as its file holds it, with the digest of what it says."""
    return json.dumps(asdict(replace(card, digest=_digest(card))), indent=1) + "\n"


def _digest(card: Card) -> str:
    # As the file has it: sections get new keys with new versions.
    task = card.recipe["task"]
    tasks = {"": task, **task.get("tasks", {})}
    meant = {name: [one.get(key) for key in MEANING] for name, one in tasks.items()}
    parts = [card.family, card.head, card.heads, card.method, card.recipe["prompt"], meant]
    if quantization := card.recipe["backbone"].get("quantization"):
        parts.append(quantization)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


_CARD = TypeAdapter(Card)


def read_card(folder: str | Path) -> Card:
    """The card of an export, or of the export in a finished run's directory.

    Raises:
        UserError: there is none, or one of another format.
    """
    path = export_folder(folder) / CARD_FILE
    raw = read_json(path)
    if not isinstance(raw, dict) or "format" not in raw:
        raise UserError(f"{path}: not a readable card: it names no format.")
    try:
        raw = upgraded(raw)
        if raw["format"] != FORMAT:
            raise UserError(f"{path}: format {raw['format']!r}; this version reads 1 to {FORMAT}.")
        card = _CARD.validate_python(raw)
        task = card.config().task
        if isinstance(task, Multi) and set(card.heads) != set(task.tasks):
            raise ValueError(f"heads: found {list(card.heads)}, the tasks are {list(task.tasks)}")
        model_card(card)  # an export that cannot be described cannot be exported again either
        if card.digest not in ("", _digest(card)):
            raise UserError(
                f"{path}: has been edited since it was written: what it says of labels, head or"
                " method is not what the tensors beside it were trained as. Restore it, or export"
                " the run again."
            )
        return card
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the recipe"
        raise UserError(f"{path}: not a readable card: {where}: {first['msg']}.") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a readable card: {error}.") from None


def source_folder(given: str | Path) -> Path:
    """The path that a caller gave for an export or a run.

    Raises:
        UserError: it is no path.
    """
    if not isinstance(given, (str, Path)):
        raise UserError(f"found {given!r:.60}, expected the folder of an export or of a run.")
    return Path(given)


def export_folder(folder: str | Path) -> Path:
    """`folder` itself, or its export/ where it is a run's directory.

    Raises:
        UserError: neither is an export.
    """
    folder = source_folder(folder)
    for candidate in (folder, folder / "export"):
        if os.path.isfile(candidate / CARD_FILE):
            return candidate
    if os.path.isdir(folder / "checkpoints"):
        raise UserError(
            f"{folder}: this run is not finished. Make an export of its newest checkpoint:"
            f" ptv2-scale export {folder} OUT"
        )
    raise UserError(f"{folder}: neither an export nor a run: no {CARD_FILE} in it or in export/.")


# The same function makes rows into inputs as in training.
_EXAMPLE = (
    "import torch",
    "from ptv2_scale import load_prompted, load_row_encoder",
    "",
    "model = load_prompted(FOLDER, backbone={backbone})",
    "encode = load_row_encoder(FOLDER, backbone={backbone})",
    "with torch.no_grad():",
    "    outputs = model(**encode(ROWS)).outputs  # logits, in the order of the labels",
)


def model_card(card: Card, example: Sequence[str] = _EXAMPLE) -> str:
    """A README for the export, with the metadata block that model hubs read.

    Args:
        card: about it.
        example: lines of Python that use what is in the folder FOLDER on the rows ROWS.
    """
    method = method_type(card.config().prompt)
    lines = [
        "---",
        "library_name: ptv2_scale",
        f"base_model: {json.dumps(card.backbone)}",
        *([f"tags: [{', '.join(method.TAGS)}]"] if method.TAGS else ()),
        "---",
        f"# {card.recipe['task']['name']}, method: {card.recipe['prompt']['method']}",
        "",
        f"Trained with ptv2_scale {_on_what(card)} {card.family} backbone `{card.backbone}`"
        f" (fingerprint `{card.fingerprint[:16]}`){_kept_in(card)}.",
        "",
        *(f"- {line}" for line in card.about),
        *_result_lines(card.result),
        "",
        "```python",
        *(line.format(backbone=repr(card.backbone)) for line in example),
        "```",
        "",
    ]
    return "\n".join(lines)


def _on_what(card: Card) -> str:
    return "from the" if card.config().prompt.TRAINS_BACKBONE else "on the frozen"


def _kept_in(card: Card) -> str:
    quantization = card.config().backbone.quantization
    return f", its layers in {quantization}" if quantization else ""


def _result_lines(result: dict[str, Any]) -> list[str]:
    if not result:
        return []
    return [
        f"- {result['metric']} on {result['split']}: {result['value']:.4f}"
        f" ({result['trivial_answer']} alone: {result['trivial']:.4f})",
        f"- trained parameters: {result['trained_parameters']:,} beside"
        f" {result['backbone_parameters']:,} frozen ones",
    ]
