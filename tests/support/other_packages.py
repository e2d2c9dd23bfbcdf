"""Packages of others, installed as pip would, and the data that the kinds of task in them read."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import yaml
from tiny import WORDS, write_recipe

_METADATA = "Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n"
_ENTRY_POINTS = "[ptv2_scale.extensions]\ntoys = toys_of_others\n"


def install(module: str, folder: Path) -> None:
    """Make a folder for Python's path, with a module of the tests as an installed package."""
    metadata = folder / "toys-1.0.dist-info"
    metadata.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name(f"{module}.py"), folder / "toys_of_others.py")
    (metadata / "METADATA").write_text(_METADATA)
    (metadata / "entry_points.txt").write_text(_ENTRY_POINTS)


def write_tagging_recipe(folder: Path, model_type: str, kind: str, **sections: Any) -> Path:
    """As `write_recipe`, with a task of a kind that gives tags to words."""
    path = write_recipe(folder, model_type, **sections)
    recipe = yaml.safe_load(path.read_text())
    recipe["task"] = {
        "kind": kind, "name": "mine", "path": str(folder / "data"),
        "train": "train.jsonl", "validation": "validation.jsonl", "max_length": 16,
    }  # fmt: skip
    _write_rows(folder / "data")
    path.write_text(yaml.safe_dump(recipe))
    return path


def _write_rows(folder: Path) -> None:
    """The tag of a word says whether its number is even."""
    source = random.Random(3)
    for name, count in (("train", 24), ("validation", 7)):
        rows = []
        for _ in range(count):
            numbers = [source.randrange(20) for _ in range(source.randint(2, 9))]
            tags = " ".join(("even", "odd")[number % 2] for number in numbers)
            rows.append({"text": " ".join(WORDS[number] for number in numbers), "tags": tags})
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
