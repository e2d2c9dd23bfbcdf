"""Rows with candidates on two ranks: killed and resumed, exported, answered, scored."""

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

SOURCE = random.Random(8)


def words(least: int, most: int) -> str:
    return " ".join(SOURCE.choices(WORDS[10:], k=SOURCE.randint(least, most)))


def one_of_several(number: int) -> dict[str, Any]:
    """The right candidate is the one with w0 in it; rows have two to four."""
    options = [words(1, 5) for _ in range(2 + number % 3)]
    right = SOURCE.randrange(len(options))
    options[right] += " w0"
    return {"ask": words(1, 4), "options": options, "right": right}


def passage(number: int) -> dict[str, Any]:
    """As MultiRC's: the answers with w1 in them are right; some questions have none."""

    def question(place: int) -> dict[str, Any]:
        labels = [SOURCE.randint(0, 1) for _ in range(SOURCE.randint(1, 3))]
        answers = [
            {"text": f"{words(1, 3)} w{label}", "label": label, "idx": 10 * place + n}
            for n, label in enumerate(labels)
        ]
        return {"question": words(1, 3), "answers": answers, "idx": place}

    questions = [question(2 * number + n) for n in range(1 + number % 2)]
    return {"idx": number, "passage": {"text": words(30, 40), "questions": questions}}


OWN = {
    "name": "choice", "question": "ask", "candidates": ["options"], "answer": "right",
    "train": "train.jsonl", "validation": "val.jsonl",
}  # fmt: skip
TASKS: list[tuple[str, dict[str, Any], Callable[[int], dict[str, Any]]]] = [
    ("bert", OWN, one_of_several),
    ("llama", {"name": "superglue/multirc"}, passage),
]


def choice_recipe(
    folder: Path, model_type: str, task: dict[str, Any], row: Callable[[int], dict[str, Any]]
) -> Path:
    path = write_recipe(
        folder, model_type, prompt={"length": 6, "gate": True},
        train={"steps": 12, "micro_batch": 3},
        backbone={"dropout": 0.1}, checkpoint={"every": 4, "keep": 2},
    )  # fmt: skip
    recipe = yaml.safe_load(path.read_text())
    recipe["task"] = {**task, "path": str(folder / "data"), "max_length": 24}
    path.write_text(yaml.safe_dump(recipe))
    SOURCE.seed(8)
    for name, count in (("train", 18), ("val", 7)):
        rows = "".join(json.dumps(row(number)) + "\n" for number in range(count))
        (folder / "data" / f"{name}.jsonl").write_text(rows)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """`trained(n)`: where the recipe of a task of `TASKS` lies, with its run on two ranks."""

    @cache
    def train(number: int) -> Path:
        folder = tmp_path_factory.mktemp("job")
        recipe = choice_recipe(folder, *TASKS[number])
        ranks.cli(2, "train", str(recipe), "train.head_only_baseline=true").must_succeed()
        return folder

    return train


@pytest.mark.parametrize("number", sample([0, 1], 1))
def test_killed_resumed_and_scored(number: int, trained: Callable[[int], Path]) -> None:
    recipe = trained(number) / "recipe.yaml"
    whole, killed = recipe.parent / "run", recipe.parent / "killed"
    kill_after(recipe, killed, 2, 6)
    assert not (killed / "result.json").exists()
    resumed = ("train", str(recipe), f"run={killed}", "--resume", "auto")
    ranks.cli(2, *resumed).must_succeed()
    assert losses(killed) == losses(whole)
    ours, theirs = ((run / "export" / "prompt.safetensors").read_bytes() for run in (whole, killed))
    assert ours == theirs
    result = json.loads((whole / "result.json").read_text())
    assert 0 <= result["head_only"] <= 1
    ended = ranks.cli(1, "evaluate", str(whole)).must_succeed()
    scored = json.loads(next(line for line in ended.outputs[0].splitlines() if line[:1] == "{"))
    assert scored["metrics"][result["metric"]] == result["value"]
    assert scored["trivial"] == result["trivial"]


def predicted(run: Path, folder: Path, form: str) -> tuple[Path, list[Any], list[Any]]:
    """Where two ranks that share the backbone write, the rows, and one process's own answers."""
    source, out = folder / "data" / "val.jsonl", folder / "out"
    asked = ("--input", str(source), "--output", str(out), "--format", form)
    ranks.cli(2, "predict", str(run), *asked).must_succeed()
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    return out, rows, Predictor.load(run).predict(rows)


def test_candidates_are_answered_alike_by_two_ranks_and_by_one_process(
    trained: Callable[[int], Path],
) -> None:
    folder = trained(0)
    out, rows, alone = predicted(folder / "run", folder, "jsonl")
    found = [json.loads(line)["prediction"] for line in out.read_text().splitlines()]
    assert [one["choice"] for one in found] == [one["choice"] for one in alone]
    assert [len(one["probabilities"]) for one in found] == [len(row["options"]) for row in rows]
    for one, other in zip(found, alone, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
    refused(folder)


def refused(folder: Path) -> None:
    """What is no submission is refused before a backbone is loaded, and leaves nothing."""
    asked = ("--input", str(folder / "data" / "val.jsonl"), "--output", str(folder / "none"))
    ended = ranks.cli(1, "predict", str(folder / "run"), *asked, "--format", "superglue")
    assert ended.code == 2
    assert "SuperGLUE's leaderboard takes, and the export's task is choice" in ended.outputs[0]
    assert not (folder / "none").exists()


def test_a_submission_of_a_passage_with_questions(tmp_path: Path) -> None:
    recipe = choice_recipe(tmp_path, *TASKS[1])
    ranks.cli(1, "train", str(recipe), "train.steps=4", "train.micro_batch=6").must_succeed()
    out, rows, alone = predicted(tmp_path / "run", tmp_path, "superglue")
    lines = [json.loads(line) for line in (out / "MultiRC.jsonl").read_text().splitlines()]
    assert [line["idx"] for line in lines] == [row["idx"] for row in rows]
    given = [[right(one) for one in line["passage"]["questions"]] for line in lines]
    assert given == [[one["choices"] for one in record["questions"]] for record in alone]


def right(question: dict[str, Any]) -> list[int]:
    return [place for place, one in enumerate(question["answers"]) if one["label"]]
