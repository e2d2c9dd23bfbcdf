"""DeepSpeed's JSON: every shipped file loads in DeepSpeed itself, and every trap is refused."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deepspeed.runtime import config as deepspeeds_own
from deepspeed.runtime.config import DeepSpeedConfig

from ptv2_scale.config import deepspeed as deepspeed_config
from ptv2_scale.config.deepspeed import (
    check_deepspeed,
    complete,
    load_deepspeed,
    shipped_configs,
)
from ptv2_scale.config.deepspeed_keys import ALLOWED, REFUSED, REFUSED_IN_ZERO
from ptv2_scale.runtime.errors import UserError

NAMES = ["zero1", "zero2", "zero3", "zero3_hpz", "zero3_offload_cpu", "zero3_offload_nvme"]
PLAIN: dict[str, Any] = {"zero_optimization": {"stage": 3}}
ONE_RANK: dict[str, Any] = {
    "world": 1,
    "micro_batch": 8,
    "accumulation": 4,
    "clip": 1.0,
    "dtype": "bf16",
    "trained": 1000,
    "ranks_per_host": 1,
}


def _message(config: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        check_deepspeed(config, "mine.json")
    return str(caught.value)


def _zero(**keys: Any) -> dict[str, Any]:
    return {"zero_optimization": {"stage": 3, **keys}}


def test_shipped_names() -> None:
    assert sorted(shipped_configs()) == NAMES


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("name", NAMES)
def test_shipped_file_loads_in_deepspeed(
    name: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PTV2_SCALE_NVME", str(tmp_path))
    config = load_deepspeed(name)
    check_deepspeed(config, name)
    read = DeepSpeedConfig(complete(config, **{**ONE_RANK, "dtype": dtype}))
    assert read.zero_optimization_stage == int(name[4])
    assert (read.train_batch_size, read.train_micro_batch_size_per_gpu) == (32, 8)
    assert read.gradient_accumulation_steps == 4
    assert read.gradient_clipping == 1.0
    assert read.bfloat16_config.enabled == (dtype == "bf16")
    assert read.grad_accum_dtype == "fp32"
    assert str(read.communication_data_type) == "torch.float32"
    assert read.zero_config.reduce_bucket_size == 1000
    # DeepSpeed gathers what persists over all ranks after each step; hpZ is to keep hosts apart.
    persistent = 0 if name == "zero3_hpz" else 100_000
    assert read.zero_config.param_persistence_threshold == persistent
    device = name.removeprefix("zero3_offload_") if "offload" in name else None
    offload = read.zero_config.offload_param
    assert (offload.device if offload else None) == device


@pytest.mark.parametrize("key", sorted(REFUSED))
def test_refused_key(key: str) -> None:
    assert f"mine.json: {key}: {REFUSED[key]}" in _message({**PLAIN, key: {"enabled": True}})


@pytest.mark.parametrize("key", sorted(REFUSED_IN_ZERO))
def test_refused_zero_key(key: str) -> None:
    message = _message(_zero(**{key: True}))
    assert f"mine.json: zero_optimization.{key}: {REFUSED_IN_ZERO[key]}" in message


@pytest.mark.parametrize(
    "key",
    ["optimizer", "scheduler", "elasticity", "amp", "fp16", "bf16", "train_batch_size"]
    + ["train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping"],
)
def test_what_the_recipe_decides_is_refused(key: str) -> None:
    assert key in REFUSED


def test_keys_that_deepspeed_removed_are_refused_with_a_reason() -> None:
    # DeepSpeed 0.19.6 still knew them.
    assert set(getattr(deepspeeds_own, "_REMOVED_TOP_LEVEL_CONFIG_KEYS", ())) <= set(REFUSED)
    assert set(getattr(deepspeeds_own, "_REMOVED_ZERO_CONFIG_KEYS", ())) <= set(REFUSED_IN_ZERO)


def test_a_key_is_allowed_or_refused() -> None:
    assert not ALLOWED & set(REFUSED)


@pytest.mark.parametrize(
    "harmless",
    [
        {**PLAIN, "fp16": {"enabled": False}},
        _zero(offload_optimizer=None, zero_quantized_weights=False),
        _zero(stage3_prefetch_bucket_size="auto", offload_param={"device": "cpu"}),
    ],
)
def test_switched_off_is_accepted(harmless: dict[str, Any]) -> None:
    check_deepspeed(harmless, "mine.json")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"zero_optimisation": {"stage": 3}}, "Did you mean 'zero_optimization'?"),
        ({"zero_optimisation": {"stage": 3}}, "zero_optimization: found nothing"),
        ({"zero_optimization": True}, "zero_optimization: found True"),
        (_zero(reduce_bucket_sice=5), "Did you mean 'reduce_bucket_size'?"),
        (_zero(qqq=5), "zero_optimization.qqq: DeepSpeed has no such key"),
        (_zero(offload_param={"devise": "cpu"}), "offload_param.devise"),
        (_zero(offload_param={"device": "disk"}), "offload_param.device: found 'disk'"),
        (_zero(reduce_bucket_size="big"), "zero_optimization.reduce_bucket_size: found 'big'"),
        (_zero(reduce_bucket_size=0), "zero_optimization.reduce_bucket_size: found 0"),
        ({"zero_optimization": {}}, "stage: found None, allowed: 1, 2 or 3"),
        (_zero(stage=0), "stage: found 0, allowed: 1, 2 or 3"),
        (_zero(stage=True), "stage: found True"),
        (_zero(stage=2, offload_param={"device": "cpu"}), "offload_param: acts on sharded"),
        (_zero(stage=1, zero_hpz_partition_size=2), "needs stage 3, not 1"),
    ],
)
def test_mistake_is_named(config: dict[str, Any], expected: str) -> None:
    assert expected in _message(config)


def test_all_mistakes_at_once() -> None:
    message = _message({**_zero(offload_optimizer={"device": "cpu"}, q=1), "amp": {}, "z": 1})
    assert [line.split(":")[1].strip() for line in message.splitlines()] == [
        "amp",
        "z",
        "zero_optimization.q",
        "zero_optimization.offload_optimizer",
    ]


def test_own_file_is_read(tmp_path: Path) -> None:
    own = tmp_path / "mine.json"
    own.write_text(json.dumps(PLAIN))
    assert load_deepspeed(str(own)) == PLAIN


def test_unknown_name() -> None:
    with pytest.raises(UserError, match=r"'zero3_hpc'.*zero3_offload_nvme.*mean 'zero3_hpz'\?"):
        load_deepspeed("zero3_hpc")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{\n"a": 1,\n}', r"mine\.json:[23]: not JSON"),
        ("[1]", "found a list, a JSON object is needed"),
        ('{"a": 1, "a": 2}', "given twice in one object: a"),
        ("\xff", "mine.json"),
    ],
)
def test_broken_file(tmp_path: Path, text: str, expected: str) -> None:
    own = tmp_path / "mine.json"
    own.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=expected):
        load_deepspeed(str(own))


def test_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no configuration"):
        load_deepspeed(str(tmp_path))


def test_complete_leaves_the_input_alone() -> None:
    config = load_deepspeed("zero3_hpz")
    before = copy.deepcopy(config)
    complete(config, **ONE_RANK)
    assert config == before


def test_complete_keeps_what_the_user_set() -> None:
    own = {**_zero(reduce_bucket_size=77), "steps_per_print": 5}
    full = complete(own, **{**ONE_RANK, "clip": None})
    assert full["zero_optimization"]["reduce_bucket_size"] == 77
    assert full["steps_per_print"] == 5
    assert full["gradient_clipping"] == 0.0


@pytest.mark.parametrize(("trained", "bucket"), [(0, 1), (39_321_600, 39_321_600)])
def test_bucket_is_as_large_as_what_is_trained(trained: int, bucket: int) -> None:
    full = complete(PLAIN, **{**ONE_RANK, "trained": trained})
    assert full["zero_optimization"]["reduce_bucket_size"] == bucket


@pytest.mark.parametrize(
    ("size", "world", "ranks_per_host", "expected"),
    [("auto", 16, 8, 8), ("auto", 4, 4, 1), ("auto", 1, 1, 1), (2, 4, 4, 2)],
)
def test_hpz_size(size: Any, world: int, ranks_per_host: int, expected: int) -> None:
    ranks = {"world": world, "ranks_per_host": ranks_per_host}
    full = complete(_zero(zero_hpz_partition_size=size), **{**ONE_RANK, **ranks})
    assert full["zero_optimization"]["zero_hpz_partition_size"] == expected


def test_hpz_must_divide_the_ranks() -> None:
    ranks = {"world": 6, "ranks_per_host": 4}
    with pytest.raises(UserError, match="4 does not divide the 6 ranks"):
        complete(load_deepspeed("zero3_hpz"), **{**ONE_RANK, **ranks})


@pytest.mark.parametrize("folder", [None, "no/such/folder"])
def test_nvme_folder_must_be_named(monkeypatch: pytest.MonkeyPatch, folder: str | None) -> None:
    monkeypatch.delenv("PTV2_SCALE_NVME", raising=False)
    if folder:
        monkeypatch.setenv("PTV2_SCALE_NVME", folder)
    with pytest.raises(UserError, match="Set PTV2_SCALE_NVME"):
        complete(load_deepspeed("zero3_offload_nvme"), **ONE_RANK)


def test_import_does_not_load_torch() -> None:
    code = f"import sys, {deepspeed_config.__name__}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
