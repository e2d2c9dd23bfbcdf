"""What travels with the package to be copied: recipes, sweeps, launch scripts, documents."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from filecmp import cmp
from pathlib import Path

from ptv2_scale.demo import RECIPE as DEMO_RECIPE
from ptv2_scale.runtime.errors import UserError, did_you_mean
from ptv2_scale.runtime.shipped import shipped_folder

_PATTERNS = {"recipes": "*.yaml", "launch": "*.sh", "docs": "*.md", "ds_configs": "*.json"}


@dataclass(frozen=True)
class Shipped:
    """A file, or a folder of files, that is there to be copied.

    Attributes:
        name: as users call it: "minilm-rte", "paper/glm-10b", "launch/local.sh".
        path: where it lies.
        place: where a copy of it goes by itself, from the working directory on.
    """

    name: str
    path: Path
    place: Path

    @property
    def title(self) -> str:
        """What it is, in one line: a file's first sentence; a folder's heading, or its files."""
        if self.path.is_file():
            return " ".join(_comment(self.path)).partition(". ")[0].removesuffix(".")
        if (readme := self.path / "README.md").is_file():
            return readme.read_text().partition("\n")[0].removeprefix("# ")
        return ", ".join(path.stem for path in _files(self.path))


def catalogue() -> list[Shipped]:
    """All that can be copied, files and folders, recipes first."""
    return [Shipped("demo", DEMO_RECIPE, Path("recipes/demo.yaml")), *_everything()]


def overview() -> list[Shipped]:
    """The same in some forty lines: in place of files deep down and of documents, their folder."""
    every = catalogue()
    shown = [one for one in every if one.path.suffix in (".yaml", ".sh") and _depth(one) < 3]
    covered = {one.path.parent for one in shown}
    rest = [one for one in every if one.path not in covered and _files(one.path)]
    return [*shown, *rest]


def find(name: str) -> Shipped:
    """What users call by a name, with or without "recipes/" and ".yaml".

    Raises:
        UserError: nothing is called so.
    """
    known = {one.name: one for one in catalogue()}
    wanted = name.removesuffix("/").removeprefix("recipes/").removesuffix(".yaml")
    if wanted not in known:
        raise UserError(
            f"{name}: nothing of that name travels with this package."
            f"{did_you_mean(wanted, known)} `ptv2-scale recipes` lists what does."
        )
    return known[wanted]


def copy(shipped: Shipped, target: Path | None = None) -> Path:
    """Copy a file or folder; nothing is overwritten, and a file that is there already is left.

    Args:
        shipped: what to copy.
        target: name of the copy, or a folder to put it into; None: its own place below the working
            directory, where the commands in its first lines look for it.

    Returns:
        The copy.

    Raises:
        UserError: something else is there, or it cannot be written.
    """
    made = shipped.place if target is None else target
    if target is not None and target.is_dir():
        made = target / shipped.path.name
    try:
        if shipped.path.is_file() and made.is_file() and cmp(shipped.path, made, shallow=False):
            return made  # as in a clone, whose recipes are those of the package
        if os.path.lexists(made):
            raise UserError(f"{made}: exists already, and nothing is overwritten. Name another.")
        made.parent.mkdir(parents=True, exist_ok=True)
        if shipped.path.is_dir():
            shutil.copytree(shipped.path, made)
        else:
            shutil.copy(shipped.path, made)
    except OSError as error:
        raise UserError(f"{made}: cannot be written ({error.strerror or error}).") from None
    return made


def _everything() -> Iterator[Shipped]:
    for kind, pattern in _PATTERNS.items():
        root = shipped_folder(kind)
        folders = sorted(path for path in root.rglob("*") if path.is_dir())
        for path in (root, *folders, *sorted(root.rglob(pattern))):
            place = Path(kind) / path.relative_to(root)
            name = place.as_posix().removeprefix("recipes/").removesuffix(".yaml")
            yield Shipped(name, path, place)


def _depth(one: Shipped) -> int:
    return len(Path(one.name).parts)


def _files(folder: Path) -> list[Path]:
    """Files that lie directly in a folder; none in a file."""
    return sorted(path for path in folder.glob("*.*") if path.is_file())


def _comment(path: Path) -> Iterator[str]:
    """Lines of the comment that a file begins with, up to an empty one."""
    for line in path.read_text().splitlines():
        text = line.removeprefix("#").strip()
        if line.startswith("#!"):
            continue
        if not line.startswith("#") or not text:
            return
        yield text
