"""A few hostile inputs through the real program: exit code 2, one message, nothing changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
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


@pytest.mark.parametrize(
    "spoil",
    [bad_yaml, code_in_an_override, deep_data, endless_layers, forged_card, data_from_outside],
)
def test_the_program(tally: Tally, spoil: Callable[[Path], list[str]], tmp_path: Path) -> None:
    arguments = spoil(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-m", "ptv2_scale", *arguments],
        cwd=tmp_path, env={**ranks.environment(0, 1, 1), "HF_TOKEN": SECRET},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("ptv2-scale: ") == 1
    for never in ("Traceback", SECRET, "\x1b", os.environ["PATH"]):
        assert never not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
    tally.add("command line", refused=True)
