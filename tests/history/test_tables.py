"""Tables of runs that were made by hand."""

from __future__ import annotations

import json
from pathlib import Path

from run_folders import make_run

from ptv2_scale.history.runs import find_runs, read_run
from ptv2_scale.history.tables import comparison_table, differences, run_json, run_table


def cells(line: str) -> list[str]:
    return [word.strip() for word in line.split("  ") if word.strip()]


def test_a_line_a_run_and_the_reasons_below(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", "failed", prompt__method="lora", train__lr=0.1)
    lines = run_table(find_runs([tmp_path])).splitlines()
    assert cells(lines[0]) == [
        "run", "state", "task", "method", "backbone", "score", "trivial", "steps", "time", "date",
    ]  # fmt: skip
    assert cells(lines[1])[:-1] == [
        str(tmp_path / "a"), "ended", "superglue/rte", "prefix", "t5-large", "accuracy 0.7500",
        "0.5000", "8", "1.5 h",
    ]  # fmt: skip
    assert cells(lines[2])[3:9] == ["lora", "t5-large", "accuracy 0.7500", "-", "8", "17 s"]
    assert lines[3:] == ["", f"failed: {tmp_path / 'b'}: rank 1 died"]


def test_what_differs_stands_beside_the_scores(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", prompt={"method": "lora", "rank": 8}, train__lr=0.01)
    runs = find_runs([tmp_path])
    assert differences(runs) == {
        "prompt.method": ["prefix", "lora"],
        "prompt.length": [100, None],
        "train.lr": [0.005, 0.01],
        "prompt.rank": [None, 8],
    }
    lines = [cells(line) for line in comparison_table(runs).splitlines()]
    assert lines[0] == ["run", str(tmp_path / "a"), str(tmp_path / "b")]
    assert lines[1] == ["score", "accuracy 0.7500", "accuracy 0.7500"]
    assert ["train.lr", "0.005", "0.01"] in lines
    assert ["prompt.rank", "-", "8"] in lines


def test_of_many_runs_with_few_differences_each_is_a_line(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        make_run(tmp_path / str(number), train__lr=number / 100)
    lines = [cells(line) for line in comparison_table(find_runs([tmp_path])).splitlines()]
    assert lines[0] == ["run", "score", "trivial", "steps", "train.lr"]
    assert lines[3] == [str(tmp_path / "3"), "accuracy 0.7500", "0.5000", "8", "0.03"]


def test_json_has_the_recipe_and_every_reader_takes_it(tmp_path: Path) -> None:
    path = make_run(tmp_path / "a")
    lines = (path / "metrics.jsonl").read_text().replace("0.75", "NaN")
    (path / "metrics.jsonl").write_text(lines)
    found = json.loads(json.dumps(run_json(read_run(path)), allow_nan=False))
    assert (found["state"], found["score"], found["best_step"]) == ("ended", 0.75, 4)
    assert found["metrics"]["accuracy"] == "nan"
    assert found["recipe"]["prompt"]["length"] == 100
    (path / "result.json").unlink()
    assert run_json(read_run(path))["score"] == 0.625
