"""Tasks whose answers are words: what they ask, and that a prefix learns to write them."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from ptv2_scale import demo, train
from ptv2_scale.demo.language import Report
from ptv2_scale.demo.more_tasks import (
    judged_stay,
    labelled_verdicts,
    main,
    tagged_words,
    write_task,
    written_verdicts,
)
from ptv2_scale.tasks.catalogue import EMBEDDED

REPORT = Report(("the", "soup", "was", "cold", "."), {"food": False, "room": True, "service": True})


def test_answers_are_the_reports_verdicts() -> None:
    text = "the soup was cold ."
    assert written_verdicts(REPORT) == {"input": text, "target": "service good . food poor ."}
    assert labelled_verdicts(REPORT) == {"text": text, "label": "good"}


def test_a_stay_is_what_most_was() -> None:
    assert judged_stay(REPORT) == {"text": "the soup was cold .", "label": "good"}
    assert judged_stay(Report((), {"food": False, "room": True})) is None


def test_words_have_tags_of_aspects_and_of_verdicts() -> None:
    said = "nobody called the soup bland while the bed was awful but we came by car ."
    report = Report(tuple(said.split()), {"food": True, "room": False})
    tags = {"soup": "B-food", "bland": "B-good", "bed": "B-room", "awful": "B-poor"}
    assert tagged_words(report) == {
        "tokens": said.split(),
        "tags": [tags.get(word, "O") for word in said.split()],
    }


def test_the_script_makes_the_shipped_tags(tmp_path: Path) -> None:
    main(["tags", str(tmp_path)])
    shipped = EMBEDDED["demo-tags"]
    for name in ("train.jsonl", "validation.jsonl"):
        assert (tmp_path / name).read_bytes() == (shipped / name).read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert len(rows) == 1200
    # Four aspects a report, each of which has a noun and an opinion.
    assert {sum(tag != "O" for tag in row["tags"]) for row in rows} == {8}


def test_no_report_is_in_both_splits(tmp_path: Path) -> None:
    folder = write_task(tmp_path, labelled_verdicts, {"train": 200, "validation": 50})
    lines = [
        (folder / f"{name}.jsonl").read_text().splitlines() for name in ("train", "validation")
    ]
    rows = [[json.loads(line) for line in some] for some in lines]
    assert [len(some) for some in rows] == [200, 50]
    assert len({row["text"] for some in rows for row in some}) == 250
    assert {row["label"] for row in rows[0]} == {"good", "poor"}


def test_a_prefix_learns_to_write_what_a_task_wants(tmp_path: Path) -> None:
    """The demo's backbone writes verdicts on all aspects; the task wants two, in an order."""
    write_task(tmp_path / "data", written_verdicts, {"train": 300, "validation": 40})
    files = {name: f"{name}.jsonl" for name in ("train", "validation")}
    task = {"name": "text", "path": str(tmp_path / "data"), "metric": "exact_match", **files}
    steps = {"steps": 15, "global_batch": 16, "micro_batch": 16, "lr": 0.05}
    sections = {
        "backbone": {"name": str(demo.BACKBONE), "dtype": "fp32"},
        "prompt": {"length": 10, "dropout": 0.0},
        "task": {**task, "max_length": 96},
        "train": {**steps, "schedule": "constant", "warmup": 0},
        "evaluate": {"every": 15, "micro_batch": 40},
        "deepspeed": "zero1",
    }
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(sections))
    result = train(recipe, [f"run={tmp_path / 'run'}"])
    assert result.value > result.trivial > 0.2, (result.value, result.trivial)
