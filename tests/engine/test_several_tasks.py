"""Several tasks in one run: a shared prefix, a head each, and what can be done with them then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import ranks
import torch
import yaml
from killed import kill_after, losses
from safetensors.torch import load_file
from several import write_rows, write_several
from tiny import WORDS, write_text_recipe

from ptv2_scale import Predictor, load_prompted, load_row_encoder
from ptv2_scale.export.from_run import export_run
from ptv2_scale.runtime.errors import UserError


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of two tasks, and its run on two ranks."""
    folder = tmp_path_factory.mktemp("several")
    recipe = write_several(folder, train={"steps": 20, "head_only_baseline": True})
    ranks.cli(2, "train", str(recipe)).must_succeed()
    return folder


def test_one_prefix_and_a_head_each(job: Path) -> None:
    tensors = load_file(job / "run/export/prompt.safetensors")
    heads = {name: list(value.shape) for name, value in tensors.items() if "head" in name}
    assert heads == {
        "head.two.out_proj.weight": [2, 32], "head.two.out_proj.bias": [2],
        "head.three.out_proj.weight": [3, 32], "head.three.out_proj.bias": [3],
    }  # fmt: skip
    assert [name for name in tensors if "head" not in name] == ["prefix"]


def test_scores_of_all_tasks_and_their_mean(job: Path) -> None:
    result = json.loads((job / "run/result.json").read_text())
    best = [
        line
        for line in read(job / "run/metrics.jsonl")
        if line["event"] == "evaluation" and line["step"] == result["best_step"]
    ]
    own = [float(str(best[-1][f"{name}/accuracy"])) for name in ("two", "three")]
    assert result["value"] == pytest.approx(sum(own) / 2)
    # 4 of 7 and 3 of 9 rows are of the most frequent class.
    assert result["trivial"] == pytest.approx((4 / 7 + 3 / 9) / 2)
    assert result["head_only"] >= result["trivial"]


def test_a_killed_run_ends_with_the_same_bytes(job: Path, tmp_path: Path) -> None:
    recipe = job / "recipe.yaml"
    killed = tmp_path / "killed"
    kill_after(recipe, killed, 2, 10)
    ranks.cli(2, "train", str(recipe), f"run={killed}", "--resume", "auto").must_succeed()
    assert losses(killed) == losses(job / "run")
    one, other = (run / "export/prompt.safetensors" for run in (killed, job / "run"))
    assert one.read_bytes() == other.read_bytes()


def test_a_head_rests_while_another_task_is_learned(tmp_path: Path) -> None:
    """ZeRO-3 keeps one buffer of gradients; below stage 3 each step has its own."""
    recipe = write_several(tmp_path, train={"steps": 12})
    found = []
    for stage in ("zero3", "zero1"):
        run = tmp_path / stage
        ranks.cli(1, "train", str(recipe), f"run={run}", f"deepspeed={stage}").must_succeed()
        found.append(losses(run))
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_one_of_the_tasks_answers(job: Path, tmp_path: Path) -> None:
    """By its name at predict, from an export of its own, by Predictor, and as a plain module."""
    source = job / "other/validation.jsonl"
    exported = tmp_path / "three"
    ranks.cli(1, "export", str(job / "run"), str(exported), "--task", "three").must_succeed()
    answers = []
    for which in ((str(job / "run"), "--task", "three"), (str(exported),)):
        out = tmp_path / f"{len(answers)}.jsonl"
        reported = ("--input", str(source), "--output", str(out))
        ranks.cli(1, "predict", *which, *reported).must_succeed()
        answers.append([row["prediction"] for row in read(out)])
    rows = read(source)
    answers.append(Predictor.load(job / "run", task="three").predict(rows))
    assert answers[0] == answers[1] == answers[2]
    model, encode = load_prompted(job / "run"), load_row_encoder(job / "run", task="three")
    with torch.no_grad():
        best = [int(model(part="three", **encode([row])).outputs.argmax()) for row in rows]
    assert ["abc"[one] for one in best] == [one["label"] for one in answers[0]]


def test_evaluate_scores_all_tasks_or_one(job: Path) -> None:
    both = ranks.cli(2, "evaluate", str(job / "run"))
    one = ranks.cli(2, "evaluate", str(job / "run"), "--task", "two")
    metrics = []
    for ended in (both, one):
        ended.must_succeed()
        (line,) = [one for one in ended.outputs[0].splitlines() if one.startswith('{"split"')]
        metrics.append(json.loads(line)["metrics"])
    assert metrics[0]["two/accuracy"] == metrics[1]["accuracy"]
    assert set(metrics[0]) == {"mean", "two/accuracy", "three/accuracy"}


def test_one_task_goes_on_from_the_shared_prefix(job: Path, tmp_path: Path) -> None:
    shared = load_file(job / "run/export/prompt.safetensors")["prefix"]
    recipe = tmp_path / "single.yaml"
    recipe.write_text((job / "recipe.yaml").read_text())
    ended = ranks.cli(
        1, "train", str(recipe), f"run={tmp_path / 'single'}", "task.name=classification",
        f"task={{name: classification, path: {job / 'other'}, text: q, label: y,"
        " train: train.jsonl, validation: validation.jsonl}",
        f"prompt={{length: 6, init: saved, init_from: {job / 'run/export'}}}",
        "train.steps=1", "train.lr=1e-9", "train.head_only_baseline=false",
    )  # fmt: skip
    ended.must_succeed()
    found = load_file(tmp_path / "single/export/prompt.safetensors")["prefix"]
    torch.testing.assert_close(found, shared, atol=1e-7, rtol=0)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (None, "is of the tasks two, three. Say which one answers"),
        ("tow", "the tasks are two, three. Did you mean 'two'?"),
    ],
)
def test_an_unnamed_or_unknown_task_is_refused(job: Path, task: str | None, words: str) -> None:
    with pytest.raises(UserError) as caught:
        Predictor.load(job / "run", task=task).predict([{"q": "w1"}])
    assert words in str(caught.value)


def test_labels_of_one_of_the_tasks_are_a_part_of_what_was_trained(job: Path) -> None:
    """In another order they would exchange its classes, and evaluate would say nothing."""
    ended = ranks.cli(1, "evaluate", str(job / "run"), "task.tasks.two.labels=[yes,no]")
    assert ended.code == 2
    assert "task.tasks.two.labels is a part of what was trained" in ended.outputs[0]


def test_a_run_whose_rows_have_moved_is_exported(job: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(job / "other", tmp_path / "moved")
    export_run(job / "run", tmp_path / "out", overrides=[f"task.tasks.three.path={moved}"])
    one, other = (
        folder / "prompt.safetensors" for folder in (tmp_path / "out", job / "run/export")
    )
    assert one.read_bytes() == other.read_bytes()


def test_rows_of_several_tasks_name_theirs(job: Path) -> None:
    encode = load_row_encoder(job / "run")
    assert encode([{"task": "three", "row": {"q": "w1"}}])["input_ids"].shape[0] == 1
    for wrong in ({"q": "w1"}, {"task": "tree", "row": {"q": "w1"}}, {"task": "two", "row": "w1"}):
        with pytest.raises(UserError, match=r"expected the name of a task \(two, three\)"):
            encode([wrong])


def test_a_card_that_has_lost_a_head_is_not_readable(job: Path, tmp_path: Path) -> None:
    export = shutil.copytree(job / "run/export", tmp_path / "export")
    card = json.loads((export / "card.json").read_text())
    (export / "card.json").write_text(json.dumps({**card, "heads": {"two": "score"}}))
    with pytest.raises(UserError, match=r"card.json: not a readable card: heads: found \['two'\]"):
        Predictor.load(export, task="three")


def write_kinds(folder: Path) -> Path:
    """Recipe of a classification, a tagging and a text task, on a backbone that knows words."""
    path = write_text_recipe(folder, "llama", train={"steps": 9}, evaluate={"every": 9})
    recipe = yaml.safe_load(path.read_text())
    write_rows(folder / "classes")
    (folder / "tags").mkdir()
    rows = [
        {"tokens": [WORDS[n], WORDS[n + 1]], "tags": ["O", ("B-A", "B-C")[n % 2]]}
        for n in range(20)
    ]
    for name in ("train", "validation"):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "tags" / f"{name}.jsonl").write_text(lines)
    files = {"train": "train.jsonl", "validation": "validation.jsonl"}
    recipe["task"] = {"name": "multi", "tasks": {
        "class": {"name": "classification", "path": str(folder / "classes"), "text": "q",
                  "label": "y", "max_length": 12, **files},
        "tag": {"name": "tagging", "path": str(folder / "tags"), "max_length": 12,
                "overlap": 2, **files},
        "write": recipe["task"],
    }}  # fmt: skip
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def test_tasks_of_several_kinds(tmp_path: Path) -> None:
    ranks.cli(2, "train", str(write_kinds(tmp_path))).must_succeed()
    (found,) = [one for one in read(tmp_path / "run/metrics.jsonl") if one["event"] == "evaluation"]
    names = ("class/accuracy", "tag/f1", "write/log_likelihood")
    assert found["mean"] == pytest.approx(sum(float(str(found[name])) for name in names) / 3)
    tag = Predictor.load(tmp_path / "run", task="tag")
    assert [len(one["tags"]) for one in tag.predict([{"tokens": ["w1", "w2", "w3"]}])] == [3]
