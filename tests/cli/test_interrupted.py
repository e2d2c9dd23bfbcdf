"""`predict` and `generate` after a kill -9: the same command ends with the same bytes."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
import ranks
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


def kill_in_the_middle(asked: list[str], output: Path) -> None:
    """Start a command, and kill it once it has kept the answers to a part."""
    (process,) = ranks.start(1, ["-m", "ptv2_scale", *asked, "--output", str(output)])
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
