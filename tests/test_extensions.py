"""A kind of task and a method that another package brings: trained, killed, exported, used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import ranks
from killed import kill_after, losses
from other_packages import install, write_tagging_recipe

from ptv2_scale.config import METHODS, MethodSection


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds the package as pip would have put it there."""
    folder = tmp_path / "site"
    install("toys", folder)
    monkeypatch.setenv("PTV2_SCALE_TESTS_PATH", str(folder))
    return folder


def toy_recipe(folder: Path) -> Path:
    return write_tagging_recipe(
        folder, "llama", "token_labels", prompt={"method": "input_bias"}, train={"steps": 20},
        checkpoint={"every": 4, "keep": 2},
    )  # fmt: skip


def test_a_kind_and_a_method_of_another_package(installed: Path, tmp_path: Path) -> None:
    recipe = toy_recipe(tmp_path)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    baseline = "train.head_only_baseline=true"
    ranks.cli(2, "train", str(recipe), f"run={whole}", baseline).must_succeed()
    kill_after(recipe, killed, 2, 14)
    assert not (killed / "result.json").exists()
    resumed = ("train", str(recipe), f"run={killed}", baseline, "--resume", "auto")
    ranks.cli(2, *resumed).must_succeed()
    assert losses(killed) == losses(whole)
    tensors = [run / "export" / "prompt.safetensors" for run in (whole, killed)]
    assert tensors[0].read_bytes() == tensors[1].read_bytes()
    result = json.loads((whole / "result.json").read_text())
    assert result["metric"] == "token_accuracy"
    assert result["trivial_answer"] == "the most frequent tag"
    assert 0 <= result["head_only"] <= 1
    used(installed, tmp_path, whole)


def used(installed: Path, folder: Path, run: Path) -> None:
    """Its export predicts the same by the command line, by `Predictor` and as a plain module."""
    source, out = folder / "data" / "validation.jsonl", folder / "out.jsonl"
    exported = folder / "exported"
    ranks.cli(1, "export", str(run), str(exported)).must_succeed()
    reported = ("--input", str(source), "--output", str(out))
    ranks.cli(2, "predict", str(exported), *reported).must_succeed()
    records = [json.loads(line)["prediction"] for line in out.read_text().splitlines()]
    words = [json.loads(line)["text"].split() for line in source.read_text().splitlines()]
    assert [len(one["tags"]) for one in records] == list(map(len, words))
    code = (
        "import json, sys, torch, toys_of_others\n"
        "from transformers import AutoTokenizer\n"
        "from ptv2_scale import Predictor, load_prompted\n"
        "rows = [json.loads(line) for line in open(sys.argv[2])]\n"
        "found = Predictor.load(sys.argv[1]).predict(rows)\n"
        "model = load_prompted(sys.argv[1])\n"
        "tokenizer = AutoTokenizer.from_pretrained(model.backbone.config.name_or_path)\n"
        "plain = []\n"
        "for row in rows:\n"
        "    batch = tokenizer([row['text']], return_tensors='pt')\n"
        "    inputs = {k: batch[k] for k in ('input_ids', 'attention_mask')}\n"
        "    best = model(**inputs).outputs[0, 1:-1].argmax(-1).tolist()\n"
        "    plain.append([toys_of_others.TAGS[tag] for tag in best])\n"
        "print(json.dumps([[one['tags'] for one in found], plain]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(exported), str(source)],
        env=ranks.environment(0, 1, 0), capture_output=True, text=True, check=True,
    )  # fmt: skip
    by_predictor, plain = json.loads(done.stdout.splitlines()[-1])
    assert by_predictor == plain == [one["tags"] for one in records]


def refused(*arguments: str) -> str:
    ended = ranks.cli(1, *arguments)
    assert ended.code == 2
    assert "Traceback" not in ended.outputs[0]
    return ended.outputs[0]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (
            "task.kind=token_lables",
            " or 'token_labels'. Did you mean 'token_labels'?",
        ),
        (
            "prompt.method=input_bais",
            " or 'input_bias'. Did you mean 'input_bias'?",
        ),
        ("prompt.length=5", "prompt.method and prompt.length contradict each other"),
        ("prompt.idle_table=5", "prompt.idle_table: unknown key. Did you mean 'idle_tables'?"),
    ],
)
def test_its_keys_are_checked_as_ours_are(
    override: str, words: str, installed: Path, tmp_path: Path
) -> None:
    assert words in refused("inspect", str(toy_recipe(tmp_path)), override)


def test_a_package_that_cannot_be_imported_is_named(installed: Path, tmp_path: Path) -> None:
    (installed / "toys_of_others.py").write_text("import nowhere_to_be_found\n")
    printed = refused("inspect", "demo")
    assert "the extension 'toys' of toys (toys_of_others) cannot be imported" in printed
    assert "nowhere_to_be_found" in printed


def test_names_are_taken_once() -> None:
    class Another(MethodSection):
        method: Literal["prefix"] = "prefix"

    with pytest.raises(ValueError, match="prompt.method: prefix is Prefix already"):
        METHODS.add(Another)
