"""`generate` on two ranks under ZeRO-3, which end their texts at different steps."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import ranks
from points import sample
from tiny import write_text_recipe
from untrained import export_untrained

from ptv2_scale import Predictor
from ptv2_scale.cli.program import main

TEXTS = ["w1 w2 w3", "w9", "w20 w21"]


@pytest.fixture(scope="module", params=sample(["llama", "t5", "gemma3_text"], 1))
def runs(request: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp(request.param)
    recipe = write_text_recipe(folder, request.param, evaluate={"micro_batch": 1})
    for length, name in ((2, "one"), (3, "two")):
        export_untrained(recipe, folder / name, f"prompt.length={length}", "prompt.init_scale=1.0")
    rows = [{"input": text, "export": ("one", "two")[n % 2]} for n, text in enumerate(TEXTS)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text(lines)
    return [folder / "one", folder / "two"]


def asked(runs: list[Path], output: Path, *options: str) -> list[str]:
    rows = runs[0].parent / "rows.jsonl"
    return ["generate", *map(str, runs), "--input", str(rows), "--output", str(output), *options]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_two_ranks_write_what_one_process_does(runs: list[Path], tmp_path: Path) -> None:
    # Nearly every token is as likely as any other, the end among them.
    drawn = ["--temperature", "1000", "--seed", "2982", "--max-new-tokens", "8"]
    ranks.cli(2, *asked(runs, tmp_path / "out", *drawn)).must_succeed()
    rows = read(runs[0].parent / "rows.jsonl")
    settings: dict[str, Any] = {"temperature": 1000.0, "seed": 2982, "max_new_tokens": 8}
    expected = Predictor.load(*runs).generate(rows, **settings)
    found = read(tmp_path / "out")
    assert found == [{**row, "prediction": one} for row, one in zip(rows, expected, strict=True)]
    # The second row goes on to the last token, when the first has ended long ago.
    assert [one["finished"] for one in expected] == [True, False, True]


def test_files_of_other_kinds_and_rows_that_are_left_out(runs: list[Path], tmp_path: Path) -> None:
    source, output = tmp_path / "rows.csv", tmp_path / "out.tsv"
    source.write_text("input,export\nw1 w2,one\nw3,three\nw9,two\n")
    options = ("--input", str(source), "--on-bad-row", "skip", "--batch-size", "2")
    ended = ranks.cli(1, *asked(runs, output, *options)).must_succeed()
    with output.open(newline="") as file:
        found = list(csv.DictReader(file, delimiter="\t"))
    rows = [{"input": "w1 w2", "export": "one"}, {"input": "w9", "export": "two"}]
    expected = Predictor.load(*runs).generate(rows)
    assert [(row["input"], row["export"]) for row in found] == [("w1 w2", "one"), ("w9", "two")]
    assert [row["prediction.text"] for row in found] == [one["text"] for one in expected]
    skipped = (tmp_path / "out.tsv.skipped").read_text()
    assert skipped.startswith(f"{source}:3, column 'export': found 'three'; of several exports")
    assert "2 rows -> " in ended.outputs[0]
    assert "scored" not in ended.outputs[0]


def test_mistakes_are_named_before_anything_is_written(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def message(*options: str) -> str:
        assert main(asked(runs, tmp_path / "out", *options)) == 2
        return capsys.readouterr().err

    assert "num_beams and top_p: a beam search draws nothing" in message(
        "--num-beams", "2", "--top-p", "0.5"
    )
    assert "rows.jsonl:1: has a column 'input', where" in message("--key", "input")
    rows = runs[0].parent / "unnamed.jsonl"
    rows.write_text('{"input": "w1", "export": "one"}\n{"input": "w1", "export": "three"}\n')
    found = message("--input", str(rows))
    assert "unnamed.jsonl:2, column 'export': found 'three'; of several exports" in found
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").write_text("mine")
    assert "--output" in message()
    assert (tmp_path / "out").read_text() == "mine"
