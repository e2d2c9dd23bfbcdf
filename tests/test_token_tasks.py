"""Kinds that answer token by token, on real ranks: trained, killed, exported, used."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import ranks
import yaml
from killed import kill_after, losses
from points import sample
from tiny import WORDS, write_recipe

from ptv2_scale import Predictor


def tagged(source: random.Random) -> dict[str, Any]:
    """Words whose number's last digit is small are an entity."""
    numbers = [source.randrange(40) for _ in range(source.randint(2, 14))]
    kinds = [("A", "B")[number % 2] if number % 10 < 4 else None for number in numbers]
    tags = [
        "O" if kind is None else f"{'I' if place and kind == kinds[place - 1] else 'B'}-{kind}"
        for place, kind in enumerate(kinds)
    ]
    return {"tokens": [WORDS[number] for number in numbers], "tags": tags}


def asked(source: random.Random) -> dict[str, Any]:
    """The answer is the word behind the one that is asked for; there may be none."""
    words = [WORDS[source.randrange(40)] for _ in range(source.randint(4, 14))]
    context, place = " ".join(words), source.randrange(len(words))
    texts = words[place + 1 : place + 2]
    starts = [len(" ".join(words[: place + 1])) + 1 for _ in texts]
    answers = {"text": texts, "answer_start": starts}
    return {"question": words[place], "context": context, "answers": answers}


TASKS: dict[str, dict[str, Any]] = {
    "tagging": {"name": "tagging", "max_length": 8, "overlap": 3},
    "span": {"name": "span", "max_length": 14, "stride": 3, "no_answer": True},
}
ROWS = {"tagging": tagged, "span": asked}
READS = {"tagging": ("tokens",), "span": ("question", "context")}
BACKBONES: dict[str, Any] = {"tagging": ("bert", {}), "span": ("t5", {"slots": ["encoder"]})}


def recipe_of(kind: str, folder: Path) -> Path:
    """A small job; its texts are longer than `max_length`, so that rows have several windows."""
    backbone, prompt = BACKBONES[kind]
    path = write_recipe(
        folder, backbone, prompt=prompt, train={"steps": 12, "micro_batch": 3},
        checkpoint={"every": 4, "keep": 2},
    )  # fmt: skip
    source = random.Random(3)
    for name, count in (("train", 24), ("validation", 9)):
        lines = [json.dumps(ROWS[kind](source)) + "\n" for _ in range(count)]
        (folder / "data" / f"{name}.jsonl").write_text("".join(lines))
    recipe = yaml.safe_load(path.read_text())
    own = {"train": "train.jsonl", "validation": "validation.jsonl", "path": str(folder / "data")}
    recipe["task"] = {**TASKS[kind], **own}
    path.write_text(yaml.safe_dump(recipe))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`trained(kind)`: where a kind's recipe lies, with its run on two ranks."""

    @cache
    def train(kind: str) -> Path:
        folder = tmp_path_factory.mktemp(kind)
        ranks.cli(2, "train", str(recipe_of(kind, folder))).must_succeed()
        return folder

    return train


@pytest.mark.parametrize("kind", sample(list(TASKS), 1))
def test_killed_and_resumed(kind: str, trained: Callable[[str], Path]) -> None:
    recipe = trained(kind) / "recipe.yaml"
    whole, killed = recipe.parent / "run", recipe.parent / "killed"
    kill_after(recipe, killed, 2, 6)
    assert not (killed / "result.json").exists()
    ranks.cli(2, "train", str(recipe), f"run={killed}", "--resume", "auto").must_succeed()
    assert losses(killed) == losses(whole)
    tensors = [run / "export" / "prompt.safetensors" for run in (whole, killed)]
    assert tensors[0].read_bytes() == tensors[1].read_bytes()


@pytest.mark.parametrize("kind", TASKS)
def test_exported_and_used(kind: str, trained: Callable[[str], Path]) -> None:
    folder = trained(kind)
    out = folder / "exported"
    ranks.cli(1, "export", str(folder / "run"), str(out)).must_succeed()
    result = json.loads((folder / "run" / "result.json").read_text())
    assert evaluated(out) == result["value"]
    predicted(kind, folder, out)


def evaluated(export: Path) -> Any:
    """The score on one rank; the run's own is that of two."""
    ended = ranks.cli(1, "evaluate", str(export)).must_succeed()
    lines = [line for line in ended.outputs[0].splitlines() if line.startswith("{")]
    return json.loads(lines[0])["value"]


def predicted(kind: str, folder: Path, export: Path) -> None:
    """The same answers on one rank and on two, without right ones in the rows."""
    rows = [
        json.loads(line) for line in (folder / "data/validation.jsonl").read_text().splitlines()
    ]
    source = folder / "rows.jsonl"
    kept = [{column: row[column] for column in READS[kind]} for row in rows]
    source.write_text("".join(json.dumps(row) + "\n" for row in kept))
    output = folder / "out.jsonl"
    reported = ("--input", str(source), "--output", str(output))
    ranks.cli(2, "predict", str(export), *reported).must_succeed()
    found = [json.loads(line)["prediction"] for line in output.read_text().splitlines()]
    assert Predictor.load(export).predict(kept) == found
    if kind == "tagging":
        assert [len(one["tags"]) for one in found] == [len(row["tokens"]) for row in rows]
    else:
        assert all(one["best"] in row["context"] for one, row in zip(found, rows, strict=True))
