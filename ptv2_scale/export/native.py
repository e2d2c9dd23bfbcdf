"""What a user takes away: trained tensors as safetensors, a JSON card, a model card for people.

Tensors may be of any size: they are written and read in ranges.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ptv2_scale.backbones.safetensors_file import SafetensorsFile
from ptv2_scale.backbones.tensor_files import Tensors
from ptv2_scale.backbones.weights import TensorFile
from ptv2_scale.config import RunConfig
from ptv2_scale.export.card import CARD_FILE, Card, card_text, export_folder, model_card, read_card
from ptv2_scale.methods.base import PROMPT_FILE, Method
from ptv2_scale.methods.registry import method_type
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.safetensors_writer import SafetensorsLayout, TensorEntry

README = "README.md"
PEFT_FILE = "adapter_config.json"

_HEAD = "head."
_logger = logging.getLogger(__name__)


def write_export(
    folder: Path, card: Card, trained: TensorFile, *, replace_existing: bool = False
) -> None:
    """Write an export.

    Args:
        folder: made here; must not exist unless `replace_existing`.
        card: about it.
        trained: trained tensors by their name in `PromptedModel`, fp32.
        replace_existing: a run's own export/ is made anew when the run is finished again, file by
            file: what else is in it stays.

    Raises:
        UserError: the folder exists, or cannot be written.
    """
    if replace_existing:
        check_replaceable(folder)
    with published(folder, replace_existing) as building:
        head, rest = _apart(trained)
        tensors = head.beside(_method(card.config()).to_export(rest))
        write_tensors(building / PROMPT_FILE, tensors)
        (building / CARD_FILE).write_text(card_text(card))
        (building / README).write_text(model_card(card))
        if os.path.lexists(folder) and not _readme_is_ours(folder):
            (building / README).unlink()
            _logger.warning(f"{folder / README}: has been changed, so it is left as it is")


def check_replaceable(folder: Path) -> None:
    """Refuse to make anew what is no export of this program's.

    Raises:
        UserError: names the folder, and what is in it.
    """
    empty = os.path.isdir(folder) and not os.path.islink(folder) and not any(folder.iterdir())
    if empty or not os.path.lexists(folder):
        return
    try:
        read_card(folder)
    except UserError as error:
        raise UserError(
            f"{folder}: a run's export is to be written there, and what is there is none"
            f" ({error}) Move it away, or choose another run directory with run=PATH."
        ) from None


def _readme_is_ours(folder: Path) -> bool:
    readme = folder / README
    if not os.path.lexists(readme):
        return True
    try:
        return readme.read_text() == model_card(read_card(folder))
    except (OSError, UnicodeDecodeError, UserError):
        return False


def trained_tensors(folder: Path) -> TensorFile:
    """Trained tensors of an export by their name in `PromptedModel`, an MLP folded in.

    Raises:
        UserError: there is no export, or its file of tensors cannot be read.
    """
    card, found = read_card(folder), export_folder(folder)
    if not (found / PROMPT_FILE).is_file() and (found / PEFT_FILE).is_file():
        raise UserError(
            f"{found}: is PEFT's folder, which PEFT loads; its README says how. Use the run or the"
            " export that it was made of."
        )
    head, rest = _apart(SafetensorsFile(found / PROMPT_FILE))
    return head.beside(_method(card.config()).from_export(rest))


def _method(config: RunConfig) -> type[Method]:
    return method_type(config.prompt)


def _apart(tensors: TensorFile) -> tuple[Tensors, Tensors]:
    """Those of the head, and the rest."""
    names = tensors.names()
    head = [name for name in names if name.startswith(_HEAD)]
    rest = [name for name in names if not name.startswith(_HEAD)]
    return Tensors.of(tensors, head), Tensors.of(tensors, rest)


@contextmanager
def published(folder: Path, replace_existing: bool = False) -> Iterator[Path]:
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
            # The card last: it says what the others are.
            for made in sorted(building.iterdir(), key=lambda one: one.name == CARD_FILE):
                made.replace(folder / made.name)
            building.rmdir()
        else:
            building.rename(folder)
    except BaseException as error:
        if not os.path.islink(building):
            shutil.rmtree(building, ignore_errors=True)
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise UserError(f"{folder}: cannot be written ({reason}).") from None
        raise


def write_tensors(path: Path, tensors: TensorFile) -> None:
    """Write a safetensors file of fp32 values, as safetensors' own writer would.

    Args:
        path: the file, which must not exist.
        tensors: what is to be in it, of any size.

    Raises:
        OSError: it cannot be written.
    """

    def read(name: str, start: int, stop: int) -> memoryview:
        piece = tensors.read(name, start, stop).float().contiguous()
        return piece.view(torch.uint8).numpy().data

    entries = (TensorEntry(name, "F32", tensors.shape(name)) for name in sorted(tensors.names()))
    with path.open("xb") as file:
        for piece in SafetensorsLayout(tuple(entries)).pieces(read):
            file.write(piece)
