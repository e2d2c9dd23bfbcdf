"""What a recipe reads, from its words alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ptv2_scale.config import TaskSection, load_recipe
from ptv2_scale.demo import BACKBONE, RECIPE
from ptv2_scale.hub import HubItem
from ptv2_scale.launchers.recipe_inputs import Inputs, inputs_of
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.catalogue import DEMO_FOLDER

OWN = (
    "task={name: classification, path: /data/mine, train: a.csv, validation: b.csv,"
    " text: t, label: l}"
)
RTE = "task={name: superglue/rte}"


def inputs(*overrides: str) -> Inputs:
    return inputs_of(load_recipe(RECIPE, list(overrides)), RECIPE)


def test_the_demo_reads_what_is_embedded() -> None:
    found = inputs()
    assert found.paths == {
        "recipe": RECIPE,
        "backbone": BACKBONE,
        "training data": DEMO_FOLDER / "train.jsonl",
        "validation data": DEMO_FOLDER / "validation.jsonl",
    }
    assert found.hub == ()


def test_files_need_not_be_here() -> None:
    found = inputs("backbone.name=/models/t5", "backbone.tokenizer=~/tok", OWN, "deepspeed=zero3")
    assert found.paths == {
        "recipe": RECIPE,
        "backbone": Path("/models/t5"),
        "tokenizer": Path("~/tok").expanduser(),
        "training data": Path("/data/mine/a.csv"),
        "validation data": Path("/data/mine/b.csv"),
    }


def test_a_kind_of_another_package_reads_files_of_its_own() -> None:
    class Another(TaskSection):
        kind: str = "other"

    files = {"train": "a.txt", "validation": "b.txt"}
    section = Another.model_validate({"name": "mine", "path": "/data", **files})
    config = load_recipe(RECIPE).model_copy(update={"task": section})
    found = inputs_of(config, RECIPE).paths
    assert found["training data"] == Path("/data/a.txt")
    assert found["validation data"] == Path("/data/b.txt")


def test_what_is_on_the_hub() -> None:
    asked = ("backbone.revision=abc", "backbone.trust_remote_code=true")
    found = inputs("backbone.name=google/t5-v1_1-xxl", *asked, RTE)
    assert list(found.paths) == ["recipe"]
    assert found.hub == (
        HubItem("model", "google/t5-v1_1-xxl", "abc", code=True),
        HubItem("dataset", "aps/super_glue", subset="rte"),
    )


def test_what_is_named_twice_is_asked_for_once() -> None:
    found = inputs("backbone.name=gpt2", "backbone.tokenizer=gpt2")
    assert found.hub == (HubItem("model", "gpt2"),)


def test_files_that_other_keys_name(tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text('{"zero_optimization": {"stage": 3, "zero_hpz_partition_size": 8}}')
    found = inputs(f"deepspeed={own}", "prompt.init=saved", "prompt.init_from=./older")
    assert found.paths["DeepSpeed's JSON"] == own
    assert found.paths["saved prefix"] == Path("older")
    assert not found.gathered


@pytest.mark.parametrize(
    ("name", "gathered"),
    [
        *(("zero1", False), ("zero2", False), ("zero3", True), ("zero3_hpz", False)),
        ("auto", False),  # it is not known yet
    ],
)
def test_whether_the_backbone_is_gathered_from_all_hosts(name: str, gathered: bool) -> None:
    found = inputs(f"deepspeed={name}")
    assert found.gathered == gathered
    assert "DeepSpeed's JSON" not in found.paths


def test_a_preset_has_nothing_to_read() -> None:
    with pytest.raises(UserError, match="is a preset"):
        inputs("backbone.name=glm-10b")


def test_a_launch_asks_without_pytorch() -> None:
    code = (
        "import sys, ptv2_scale.launchers.recipe_inputs;"
        " print({'torch', 'transformers'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
