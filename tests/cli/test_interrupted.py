"""`predict` and `generate` after a kill -9: the same command ends with the same bytes."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
import ranks
import yaml
from tiny import WORDS, write_recipe, write_text_recipe
from untrained import export_untrained

ROWS = 128
PART = 32  # rows that are kept at once, in batches of one
GREEDY = ("--max-new-tokens", "3")
DRAWN = (*GREEDY, "--temperature", "2", "--seed", "7")


def write_rows(path: Path, column: str) -> Path:
    """Rows of one to nine words, no two of them alike."""
    texts = [" ".join([WORDS[n % 40], *WORDS[n // 40 : n // 40 + n % 9]]) for n in range(ROWS)]
    path.write_text("".join(json.dumps({"row": n, column: t}) + "\n" for n, t in enumerate(texts)))
    return path


@pytest.fixture(scope="module")
def predict(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("predict")
    export = export_untrained(write_recipe(folder, "bert"), folder / "export")
    rows = write_rows(folder / "rows.jsonl", "text")
    return ["predict", str(export), "--input", str(rows), "--batch-size", "1"]


@pytest.fixture(scope="module")
def generate(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("generate")
    recipe = write_text_recipe(folder, "llama")
    export = export_untrained(recipe, folder / "export", "prompt.init_scale=1.0")
    rows = write_rows(folder / "rows.jsonl", "input")
    return ["generate", str(export), "--input", str(rows), "--batch-size", "1"]


def kept_rows(output: Path) -> int:
    """Rows whose answers an unfinished command has kept as whole lines."""
    kept = output.with_name(f".{output.name}.begun.partial")
    lines = kept.read_bytes().split(b"\n")[1:-1] if kept.exists() else []
    return sum(len(records) for line in lines for records in json.loads(line)["answers"].values())


def kill_in_the_middle(asked: list[str], output: Path, named: Path | None = None) -> None:
    """Start a command that makes a file, and kill it once it has kept the answers to a part."""
    written = ["--output", str(named or output)]
    (process,) = ranks.start(1, ["-m", "ptv2_scale", *asked, *written])
    while kept_rows(output) < PART and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, printed


def check_goes_on(asked: list[str], folder: Path) -> list[str]:
    """Kill a command and give it again; what the second start says, in lines."""
    whole, output = folder / "whole.jsonl", folder / "killed.jsonl"
    ranks.cli(1, *asked, "--output", str(whole)).must_succeed()
    answers = [json.dumps(json.loads(line)["prediction"]) for line in whole.open()]
    assert len(answers) == ROWS
    assert len(set(answers)) > ROWS / 2  # an answer to another row would show

    kill_in_the_middle(asked, output)
    done = kept_rows(output)
    assert not output.exists()
    assert PART <= done < ROWS
    assert done % PART == 0
    said = ranks.cli(1, *asked, "--output", str(output)).must_succeed().outputs[0].splitlines()
    assert f"goes on after {done} of {ROWS} rows" in said
    assert output.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == ["killed.jsonl", "whole.jsonl"]
    return said


def test_predict_goes_on_after_a_kill(predict: list[str], tmp_path: Path) -> None:
    check_goes_on(predict, tmp_path)


@pytest.mark.parametrize("settings", [GREEDY, DRAWN], ids=["greedy", "drawn"])
def test_generate_goes_on_after_a_kill(
    generate: list[str], settings: tuple[str, ...], tmp_path: Path
) -> None:
    check_goes_on([*generate, *settings], tmp_path)


def write_published(folder: Path) -> tuple[Path, Path]:
    """A recipe of STS-B, and a test file as GLUE publishes it."""
    recipe = write_recipe(folder, "bert", evaluate={"micro_batch": 1})
    content = yaml.safe_load(recipe.read_text())
    content["task"] = {"name": "glue/stsb", "path": str(folder / "data"), "max_length": 20}
    recipe.write_text(yaml.safe_dump(content))
    rows = map(json.loads, write_rows(folder / "rows.jsonl", "text").open())
    texts = ((row["row"], row["text"]) for row in rows)
    lines = ["index\tsentence1\tsentence2", *(f"{n}\t{text}\t{text}" for n, text in texts)]
    published = folder / "test.tsv"
    published.write_text("\n".join(lines) + "\n")
    return recipe, published


def test_a_submission_goes_on_after_a_kill(tmp_path: Path) -> None:
    recipe, published = write_published(tmp_path)
    export = export_untrained(recipe, tmp_path / "export", "prompt.init_scale=1.0")
    asked = ["predict", str(export), "--input", str(published), "--format", "glue"]
    ranks.cli(1, *asked, "--output", str(tmp_path / "whole")).must_succeed()
    whole = (tmp_path / "whole" / "STS-B.tsv").read_text()
    assert len({line.split("\t")[1] for line in whole.splitlines()}) > 20  # three digits, few apart

    output = tmp_path / "killed" / "STS-B.tsv"
    kill_in_the_middle(asked, output, named=output.parent)
    done = kept_rows(output)
    said = ranks.cli(1, *asked, "--output", str(output.parent)).must_succeed().outputs[0]
    assert f"goes on after {done} of {ROWS} rows" in said.splitlines()
    assert output.read_text() == whole
    assert list(output.parent.iterdir()) == [output]
