"""A few hostile inputs through the real program: exit code 2, one message, nothing changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import ranks
from arena import SECRET, Tally


def bad_yaml(folder: Path) -> list[str]:
    (folder / "x.yaml").write_text(
        f"task: !!python/object/apply:os.system ['touch {folder}/ran']\n"
    )
    return ["train", "x.yaml"]


def code_in_an_override(folder: Path) -> list[str]:
    return ["train", "demo", f"run=$(touch {folder}/ran)", "task.name=`id`"]


def deep_data(folder: Path) -> list[str]:
    (folder / "deep.jsonl").write_text('{"text": ' + "[" * 990 + "]" * 990 + ', "label": "a"}\n')
    return ["train", "demo", "task.path=.", "task.train=deep.jsonl"]


def endless_layers(folder: Path) -> list[str]:
    config = {"model_type": "llama", "num_hidden_layers": 10**9, "hidden_size": 10**6}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")
    return ["inspect", "demo", f"backbone.name={folder}", "backbone.trust_remote_code=false"]


def forged_card(folder: Path) -> list[str]:
    (folder / "card.json").write_text(json.dumps({"format": 1, "recipe": "\x1b[2J$HF_TOKEN"}))
    return ["predict", str(folder), "--input", "in.jsonl", "--output", "out.jsonl"]


def data_from_outside(folder: Path) -> list[str]:
    return ["train", "demo", "task.path=.", "task.train=../../../../../../etc/passwd"]


SPOILT = [bad_yaml, code_in_an_override, deep_data, endless_layers, forged_card, data_from_outside]


@dataclass
class Program:
    """The program with one input, in a folder of its own."""

    folder: Path
    before: list[Path]
    process: subprocess.Popen[str]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Program]]:
    """All of them at the same time: each takes seconds to begin."""
    made = {}
    for spoil in SPOILT:
        folder = tmp_path_factory.mktemp(spoil.__name__)
        argv = [sys.executable, "-m", "ptv2_scale", *spoil(folder)]
        before = sorted(folder.rglob("*"))
        process = subprocess.Popen(
            argv, cwd=folder, env={**ranks.environment(0, 1, 1), "HF_TOKEN": SECRET}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        made[spoil.__name__] = Program(folder, before, process)
    yield made
    for program in made.values():
        program.process.kill()
        program.process.communicate()


@pytest.mark.parametrize("spoil", SPOILT)
def test_the_program(
    tally: Tally, spoil: Callable[[Path], list[str]], programs: dict[str, Program]
) -> None:
    program = programs[spoil.__name__]
    stdout, stderr = program.process.communicate(timeout=120)
    assert program.process.returncode == 2, stderr
    assert stdout == ""
    assert stderr.count("ptv2-scale: ") == 1
    for never in ("Traceback", SECRET, "\x1b", os.environ["PATH"]):
        assert never not in stderr
    assert sorted(program.folder.rglob("*")) == program.before
    tally.add("command line", refused=True)
