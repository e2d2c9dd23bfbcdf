"""Shipped recipes, trained for two steps on a tiny backbone of their family."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import recipe_files
from points import sample
from ranks import CHECKOUT
from safetensors import safe_open
from tiny import OVERRIDES, save_backbone, save_language_model, save_tokenizer

from ptv2_scale import train
from ptv2_scale.config import Prefix, load_recipe

RECIPES = CHECKOUT / "recipes"
BACKBONES = {
    "paper/bert-large": "bert",
    "paper/roberta-large": "roberta",
    "paper/deberta-xlarge": "deberta",
    "paper/glm-10b": "glm_classic",
    "paper/t5-xl": "t5",
}
# One of each kind: what writes its files, and its published metric.
TASKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "rte": (recipe_files.write_rte, "accuracy"),
    "copa": (recipe_files.write_copa, "accuracy"),
    "conll05": (recipe_files.write_roles, "f1"),
    "squad2": (recipe_files.write_squad2, "f1"),
    "text": (recipe_files.write_texts, "log_likelihood"),
}
TEXT = {"llm/llama-3.1-8b": "llama", "llm/qwen3-8b": "qwen3", "llm/glm-4-9b": "glm"}
POINTS = [
    (f"{folder}/{task}", family, task)
    for folder, family in BACKBONES.items()
    for task in TASKS
    if task != "text"
] + [(name, family, "text") for name, family in TEXT.items()]
OWN = [path.stem for path in sorted((RECIPES / "own").glob("*.yaml"))]
SIZE = ["train.steps=2", "train.global_batch=4", "train.micro_batch=2", "backbone.dtype=fp32"]


def tiny_backbone(family: str, folder: Path) -> Path:
    """A backbone with room for the longest recipe."""
    save = save_language_model if family in TEXT.values() else save_backbone
    save(family, folder, **({} if family == "t5" else {"max_position_embeddings": 640}))
    save_tokenizer(folder, OVERRIDES[family].get("pad_token_id", 0))
    return folder


@pytest.mark.parametrize(("name", "family", "task"), sample(POINTS, 2))
def test_two_steps(name: str, family: str, task: str, tmp_path: Path) -> None:
    write, metric = TASKS[task]
    recipe, run, data = RECIPES / f"{name}.yaml", tmp_path / "run", tmp_path / "data"
    data.mkdir()
    write(data)
    model = tiny_backbone(family, tmp_path / "model")
    places = [f"backbone.name={model}", f"task.path={data}", f"run={run}"]
    result = train(recipe, [*places, *SIZE])
    assert (result.steps, result.metric) == (2, metric)
    assert (result.value < 0) if task == "text" else (0 <= result.value <= 1)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 2
    assert all(map(math.isfinite, losses))
    assert prefix_rows(run) == lengths(recipe)


@pytest.mark.parametrize("kind", sample(OWN, 2))
def test_a_recipe_for_data_of_ones_own(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe_files.write_own(kind, tmp_path)
    model = tiny_backbone("t5" if kind == "text" else "bert", tmp_path / "model")
    places = [f"backbone.name={model}", *([] if kind == "several" else ["task.path=."])]
    steps = ["train.epochs=null", "train.steps=1", "train.global_batch=4", "train.micro_batch=2"]
    result = train(RECIPES / "own" / f"{kind}.yaml", [*places, *steps])
    assert (result.steps, result.ranks) == (1, 1)
    assert math.isfinite(result.value)


def lengths(recipe: Path) -> set[int]:
    section = load_recipe(recipe, []).prompt
    assert isinstance(section, Prefix)
    return {section.length}


def prefix_rows(run: Path) -> set[int]:
    """Tokens of the exported prefix."""
    with safe_open(run / "export" / "prompt.safetensors", "pt") as exported:
        shapes = {name: exported.get_slice(name).get_shape() for name in exported.keys()}  # noqa: SIM118
    return {shape[0] for name, shape in shapes.items() if name.startswith("prefix")}
