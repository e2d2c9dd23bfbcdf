"""A small job of two classification tasks that share a prefix."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import yaml
from tiny import WORDS, write_recipe


def write_rows(folder: Path, train: int = 40, validation: int = 9) -> None:
    """The class of a text is its first word, out of three."""
    folder.mkdir()
    source = random.Random(1)
    for name, count in (("train", train), ("validation", validation)):
        rows = [
            {"q": " ".join([WORDS[n % 3], *source.choices(WORDS[10:], k=n % 6)]), "y": "abc"[n % 3]}
            for n in range(count)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_several(folder: Path, model_type: str = "llama", **sections: Any) -> Path:
    """Recipe of the tasks `two` (20 rows of two classes) and `three` (40 of three)."""
    path = write_recipe(folder, model_type, **sections)
    recipe = yaml.safe_load(path.read_text())
    write_rows(folder / "other")
    three = {
        "name": "classification", "path": str(folder / "other"), "text": "q", "label": "y",
        "train": "train.jsonl", "validation": "validation.jsonl", "max_length": 12,
    }  # fmt: skip
    recipe["task"] = {"name": "multi", "tasks": {"two": recipe["task"], "three": three}}
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path
