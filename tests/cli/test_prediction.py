"""`predict` by the command line: files of every kind in and out, bad rows, scores, pipes."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ranks
from tiny import write_recipe
from untrained import export_untrained

from ptv2_scale import Predictor
from ptv2_scale.cli.program import main

ROWS = [{"text": f"w{n} w{n + 9} w{n % 3}", "label": ("no", "yes")[n % 2]} for n in range(9)]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("job")
    return export_untrained(write_recipe(folder, "bert"), folder / "one")


@pytest.fixture(scope="module")
def expected(export: Path) -> list[dict[str, Any]]:
    return Predictor.load(export).predict(ROWS)


def right(records: list[dict[str, Any]]) -> float:
    pairs = zip(records, ROWS, strict=True)
    return sum(made["label"] == row["label"] for made, row in pairs) / len(ROWS)


def test_two_ranks_skip_bad_rows_list_them_and_score_the_others(
    export: Path, expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    source, output = tmp_path / "rows.csv", tmp_path / "out.tsv"
    lines = [f"{row['text']},{row['label']}" for row in ROWS]
    source.write_text("\n".join(["text,label", *lines[:3], "w1,yes,more", *lines[3:]]) + "\n")
    asked = ["predict", str(export), "--input", str(source), "--output", str(output)]
    options = ("--on-bad-row", "skip", "--batch-size", "1")
    ended = ranks.cli(2, *asked, *options).must_succeed()
    with output.open(newline="") as file:
        found = list(csv.DictReader(file, delimiter="\t"))
    assert [row["text"] for row in found] == [row["text"] for row in ROWS]
    for row, record in zip(found, expected, strict=True):
        assert row["prediction.label"] == record["label"]
        made = float(row["prediction.probabilities.yes"])
        assert made == pytest.approx(record["probabilities"]["yes"], abs=1e-5)
    skipped = (tmp_path / "out.tsv.skipped").read_text().splitlines()
    assert len(skipped) == 1
    assert skipped[0].startswith(f"{source}:5: found 3 fields, expected 2: text, label")
    report = json.loads(next(line for line in ended.outputs[0].splitlines() if line[:1] == "{"))
    assert report == {"rows": 9, "metrics": {"one": {"accuracy": pytest.approx(right(expected))}}}
    assert "9 of 9 rows, " in ended.outputs[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "out.tsv", "out.tsv.skipped", "rows.csv",
    ]  # fmt: skip


def test_from_a_pipe_into_a_pipe(export: Path, expected: list[dict[str, Any]]) -> None:
    rows = [{"text": row["text"]} for row in ROWS]
    done = subprocess.run(
        [sys.executable, "-m", "ptv2_scale", "predict", str(export), "--input", "-", "--output",
         "-", "--batch-size", "1"],
        input="".join(json.dumps(row) + "\n" for row in rows),
        env=ranks.environment(0, 1, ranks.free_port()),
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    found = [json.loads(line) for line in done.stdout.splitlines()]  # and nothing else
    assert [row["text"] for row in found] == [row["text"] for row in ROWS]
    for row, record in zip(found, expected, strict=True):
        assert row["prediction"]["label"] == record["label"]
    assert "one: not scored: " in done.stderr


def test_mistakes_are_named_before_anything_is_loaded_or_written(
    export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = tmp_path / "rows.jsonl", tmp_path / "out.csv"
    source.write_text('{"text": "w1"}\n{"text": 3}\nno json\n')

    def message(*options: str) -> str:
        asked = ["predict", str(export), "--input", str(source), "--output", str(output)]
        assert main([*asked, *options]) == 2
        return capsys.readouterr().err

    assert "rows.jsonl:3: not JSON" in message()
    (tmp_path / "out.csv.skipped").write_text("mine")
    assert "out.csv.skipped: exists already" in message("--on-bad-row", "skip")
    assert "--on-bad-row skip: --format glue writes" in message(
        "--on-bad-row", "skip", "--format", "glue"
    )
    assert "--format csv: standard output takes jsonl alone" in message(
        "--output", "-", "--format", "csv"
    )
    source.write_text('{"text": 3}\n')
    assert "no row of it can be answered" in message("--on-bad-row", "skip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv.skipped", "rows.jsonl"]
