"""A run goes on only as what it was begun as: labels, rows, tokenizer and config are compared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ranks
import yaml
from tiny import rotate_ids, write_recipe

from ptv2_scale.checkpoint.compatibility import changes
from ptv2_scale.cli import main
from ptv2_scale.config import RunConfig, override
from ptv2_scale.tasks.registry import build_task


@dataclass(frozen=True)
class Job:
    """A folder with a recipe, its backbone and data, and a finished run."""

    folder: Path

    @property
    def recipe(self) -> str:
        return str(self.folder / "recipe.yaml")

    def resume(self, *overrides: str) -> int:
        """In this process: what is refused is refused before any rank is joined."""
        return main(["train", self.recipe, *overrides, "--resume", "auto"])

    def rows(self, split: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file(split).read_text().splitlines()]

    def file(self, split: str) -> Path:
        return self.folder / "data" / f"{split}.jsonl"

    def rewrite(self, split: str, rows: list[dict[str, Any]]) -> None:
        self.file(split).write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job of four steps, all paths in its recipe below its own folder."""
    folder = tmp_path_factory.mktemp("job")
    recipe = write_recipe(
        folder, train={"steps": 4, "head_only_baseline": False}, evaluate={"every": 2}
    )
    ranks.cli(1, "train", str(recipe)).must_succeed()
    return folder


@pytest.fixture
def job(trained: Path, tmp_path: Path) -> Job:
    """The job, moved: other paths, the same content."""
    folder = tmp_path / "moved"
    shutil.copytree(trained, folder)
    path = folder / "recipe.yaml"
    path.write_text(path.read_text().replace(str(trained), str(folder)))
    return Job(folder)


def relabelled(job: Job) -> None:
    names = {
        "no": "unrelated",
        "yes": "related",
    }  # their order turns round
    for split in ("train", "validation"):
        job.rewrite(split, [{**row, "label": names[row["label"]]} for row in job.rows(split)])


def third_label(job: Job) -> None:
    first, *rest = job.rows("train")
    job.rewrite("train", [{**first, "label": "maybe"}, *rest])


def answers_exchanged(job: Job) -> None:
    names = {"no": "yes", "yes": "no"}
    job.rewrite("train", [{**row, "label": names[row["label"]]} for row in job.rows("train")])


def one_word_changed(job: Job) -> None:
    *rest, last = job.rows("train")
    job.rewrite("train", [*rest, {**last, "text": last["text"] + " w9"}])


def reordered(job: Job) -> None:
    job.rewrite("train", job.rows("train")[::-1])


def one_row_less(job: Job) -> None:
    job.rewrite("train", job.rows("train")[:-1])


def rows_added(job: Job) -> None:
    job.rewrite("train", [*job.rows("train"), {"text": "w1 w50 w51", "label": "yes"}])


def other_validation(job: Job) -> None:
    job.rewrite("validation", job.rows("validation")[1:])


def rotated_ids(job: Job) -> None:
    rotate_ids(job.folder / "backbone")


def another_template(job: Job) -> None:
    path = job.folder / "backbone" / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["post_processor"]["single"].pop(0)  # no <s> in front
    path.write_text(json.dumps(tokenizer))


def another_epsilon(job: Job) -> None:
    path = job.folder / "backbone" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "layer_norm_epsilon": 0.01}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (relabelled, "task.labels was ['no', 'yes'] and is ['related', 'unrelated']"),
        (third_label, "task.labels was ['no', 'yes'] and is ['maybe', 'no', 'yes']"),
        (answers_exchanged, "the rows of task.train have changed"),
        (one_word_changed, "the rows of task.train have changed"),
        (reordered, "the rows of task.train have changed"),
        (one_row_less, "they are not the 20 of before; there are 19 now"),
        (rows_added, "checkpoint.accept=[added_rows] goes on with them"),
        (other_validation, "the rows of task.validation have changed"),
        (rotated_ids, "the tokenizer has changed"),
        (another_template, "the tokenizer has changed"),
        (another_epsilon, "the backbone's config.json has changed"),
    ],
)
def test_what_has_changed_is_refused_by_name(
    change: Callable[[Job], None], said: str, job: Job, capsys: Any
) -> None:
    before = (job.folder / "run" / "result.json").read_bytes()
    change(job)
    assert job.resume() == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert (job.folder / "run" / "result.json").read_bytes() == before


def test_another_metric_is_refused(job: Job, capsys: Any) -> None:
    assert job.resume("task.metric=f1_macro") == 2
    assert "task.metric was 'accuracy' and is 'f1_macro'" in capsys.readouterr().err


def test_the_metric_of_a_benchmark_is_stored_too() -> None:
    """The recipe names none; a resume that names another one would keep a best of the first."""
    recipe = {"backbone": {"name": "b"}, "task": {"name": "superglue/cb"}}
    stored = RunConfig.model_validate(recipe)
    stored = stored.model_copy(update={"task": build_task(stored.task).resolved()})
    other = override(stored, ["task.metric=f1_macro"])
    assert changes(stored.model_dump(mode="json"), other) == [
        "task.metric was 'accuracy' and is 'f1_macro'"
    ]


def test_added_rows_can_be_accepted(job: Job) -> None:
    rows_added(job)
    half, run = job.folder / "run/checkpoints/step-00000002", f"run={job.folder / 'more'}"
    accept = "checkpoint.accept=[added_rows]"
    words = ("train", job.recipe, run, accept)
    ranks.cli(1, *words, "--resume", str(half)).must_succeed()
    ranks.cli(1, *words, "--resume", "auto").must_succeed()
    one_word_changed(job)  # of the added row, which belongs to the run by now
    assert job.resume(run, accept) == 2


def test_scores_on_other_validation_rows_do_not_compare(job: Job) -> None:
    extra = [{"text": f"w{number % 2} w7{number}", "label": "no"} for number in range(5)]
    job.rewrite("validation", [*job.rows("validation"), *extra])
    accept = "checkpoint.accept=[added_rows]"
    ranks.cli(1, "train", job.recipe, accept, "--resume", "auto").must_succeed()
    result = json.loads((job.folder / "run" / "result.json").read_text())
    assert result["best_step"] == 4  # evaluated anew, on all rows of now
    events = [
        json.loads(line) for line in (job.folder / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert events[-1]["event"] == "evaluation"
    assert result["value"] == events[-1]["accuracy"]
    assert result["value"] * 12 == pytest.approx(round(result["value"] * 12))


def test_what_is_not_read_may_change(job: Job) -> None:
    job.rewrite("train", [{**row, "id": n} for n, row in enumerate(job.rows("train"))])
    tokenizer = job.folder / "tokenizer"
    tokenizer.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(job.folder / "backbone" / name, tokenizer)
    done = ranks.cli(
        1, "train", job.recipe, f"backbone.tokenizer={tokenizer}", "--resume", "auto"
    ).must_succeed()
    assert "resumed from" in done.outputs[0]


def test_two_recipes_of_one_name_do_not_share_a_run(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """en/clf.yaml and de/clf.yaml have the same default run directory."""
    monkeypatch.chdir(tmp_path)
    recipe = yaml.safe_load((trained / "recipe.yaml").read_text())
    del recipe["run"]
    for language in ("en", "de"):
        shutil.copytree(trained / "data", tmp_path / language)
        own = {**recipe, "task": {**recipe["task"], "path": language}}
        (tmp_path / language / "clf.yaml").write_text(yaml.safe_dump(own))
    shutil.copytree(trained / "run", tmp_path / "runs" / "clf")
    one_word_changed(RowsBeside(tmp_path / "de"))
    assert main(["train", "de/clf.yaml", "--resume", "auto"]) == 2
    assert "the rows of task.train have changed" in capsys.readouterr().err


class RowsBeside(Job):
    """Rows that lie beside the recipe."""

    def file(self, split: str) -> Path:
        return self.folder / f"{split}.jsonl"
