"""DeepSpeed's JSON: every shipped file loads in DeepSpeed itself, and every trap is refused."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deepspeed.comm.config import CommsLoggerConfig
from deepspeed.monitor.config import DeepSpeedMonitorConfig
from deepspeed.runtime import config as deepspeeds_own
from deepspeed.runtime.config import DeepSpeedConfig

from ptv2_scale.cli import main
from ptv2_scale.config import RunConfig, deepspeed_check
from ptv2_scale.config import deepspeed as deepspeed_config
from ptv2_scale.config.deepspeed import (
    check_deepspeed,
    complete,
    deepspeed_of,
    load_deepspeed,
    shipped_configs,
)
from ptv2_scale.config.deepspeed_keys import ALLOWED, REFUSED, REFUSED_IN_ZERO
from ptv2_scale.config.deepspeed_values import Settings
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
    check_deepspeed(config, name)  # not read with it: a shipped file needs none
    read = DeepSpeedConfig(complete(config, **{**ONE_RANK, "dtype": dtype}))
    # Its optimizer for stage 1 in bf16 is of another kind: see `stage_of`.
    stage = 2 if (name, dtype) == ("zero1", "bf16") else int(name[4])
    assert read.zero_optimization_stage == stage
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


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("steps_per_print", "auto", "found 'auto', allowed: a valid integer; \"auto\" is for"),
        ("steps_per_print", 0, "found 0, allowed: greater than or equal to 1"),
        ("steps_per_print", 2.5, "found 2.5, allowed: a valid integer"),
        ("steps_per_print", True, "found true, allowed: a valid integer"),
        ("tensorboard", None, "found null, allowed: an object of settings"),
        ("flops_profiler", None, "found null, allowed: an object of settings"),
        ("comms_logger", None, "found null, allowed: an object of settings"),
        ("comms_logger", [], "found a list, allowed: an object of settings"),
        ("data_types", None, "found null, allowed: an object of settings"),
        ("data_types", "fp32", "found 'fp32', allowed: an object of settings"),
        ("timers", None, "found null, allowed: an object of settings"),
        ("timers", {"throughput": None}, "throughput: found null, allowed: an object of settings"),
        ("aio", None, "found null, allowed: an object of settings"),
        ("aio", {"block_size": "1MB"}, "aio.block_size: found '1MB', allowed: a valid integer"),
        ("aio", {"block_sise": 1}, "aio.block_sise: DeepSpeed has no such key and would ignore it"),
        ("data_types", {"grad_accum_dtype": "auto"}, "found 'auto', allowed: 'fp32' or 'bf16'"),
        ("data_types", {"grad_accum_dtype": "int8"}, "found 'int8', allowed: 'fp32' or 'bf16'"),
        ("data_types", {"param_dtype": "bf16"}, "param_dtype: the recipe decides it"),
        ("data_types", {"buffer_dtype": "bf16"}, "buffer_dtype: it changes the numbers"),
        ("communication_data_type", "fp8", "found 'fp8', allowed: 'fp32', 'bf16' or 'fp16'"),
        ("communication_data_type", 32, "found 32, allowed: 'fp32', 'bf16' or 'fp16'"),
        ("log_level", "chatty", "found 'chatty', allowed: 'debug', 'info'"),
        ("wall_clock_breakdown", "false", "found 'false', allowed: a valid boolean"),
        ("memory_breakdown", 1, "found 1, allowed: a valid boolean"),
        ("dump_state", "no", "found 'no', allowed: a valid boolean"),
        ("flops_profiler", {"enabled": "false"}, "enabled: found 'false', allowed: a valid bool"),
        ("flops_profiler", {"profile_step": 0}, "profile_step: found 0, allowed: greater than"),
        ("tensorboard", {"enabled": "yes"}, "tensorboard.enabled: found 'yes', allowed: a valid"),
        ("tensorboard", {"enable": True}, "Did you mean 'enabled'?"),
        ("comms_logger", {"prof_ops": "all_reduce"}, "prof_ops: found 'all_reduce', allowed: a"),
        ("csv_monitor", {"output_path": None}, "output_path: found null, allowed: a valid string"),
    ],
)
def test_value_that_deepspeed_cannot_use(key: str, value: Any, said: str) -> None:
    message = _message({**PLAIN, key: value})
    assert message.startswith(f"mine.json: {key}")
    assert said in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"stage": "3"}, "stage: found '3', allowed: 1, 2 or 3"),
        ({"stage": 3.0}, "stage: found 3.0, allowed: 1, 2 or 3"),
        ({"zero_hpz_partition_size": "8"}, "zero_hpz_partition_size: found '8', allowed: a number"),
        ({"zero_hpz_partition_size": None}, "zero_hpz_partition_size: found null, allowed"),
        ({"zero_hpz_partition_size": True}, "zero_hpz_partition_size: found true, allowed: a num"),
        ({"overlap_comm": "false"}, "overlap_comm: found 'false', allowed: true or false"),
        ({"reduce_bucket_size": None}, "reduce_bucket_size: found null, allowed: a valid integer"),
        ({"stage3_prefetch_bucket_size": "5e7"}, "stage3_prefetch_bucket_size: found '5e7'"),
        (
            {"stage3_max_live_parameters": "99"},
            "stage3_max_live_parameters: found '99', allowed: a",
        ),
        ({"offload_param": True}, "offload_param: found true, allowed"),
        ({"offload_param": {"pin_memory": "false"}}, "pin_memory: found 'false', allowed: true or"),
        ({"offload_param": {"device": "nvme"}}, "nvme_path: missing, but"),
        ({"offload_param": {"device": "nvme", "nvme_path": None}}, "nvme_path: missing, but"),
        (
            {"offload_param": {"device": "nvme", "nvme_path": "n"}},
            'stage3_max_reuse_distance: found nothing, allowed with "device": "nvme": 0.',
        ),
        (
            {
                "offload_param": {"device": "nvme", "nvme_path": "n"},
                "stage3_prefetch_bucket_size": 9,
            },
            'stage3_prefetch_bucket_size: found 9, allowed with "device": "nvme": 0.',
        ),
    ],
)
def test_value_of_zero_that_deepspeed_cannot_use(keys: dict[str, Any], said: str) -> None:
    assert f"mine.json: zero_optimization.{said}" in _message(_zero(**keys)).replace(
        "offload_param.", ""
    )


def test_a_monitor_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deepspeed_check, "is_installed", lambda name: False)
    for section, package in (("wandb", "wandb"), ("comet", "comet_ml"), ("tensorboard",) * 2):
        message = _message({**PLAIN, section: {"enabled": True}})
        assert f"{section}.enabled: the package {package} is not installed" in message
        check_deepspeed({**PLAIN, section: {"enabled": False}}, "mine.json")


def test_what_is_accepted_deepspeed_reads_itself() -> None:
    """Every key that may be set, each with a value other than its default."""
    own: dict[str, Any] = {
        "aio": {"block_size": 4096, "queue_depth": 4, "single_submit": True},
        "comet": {"enabled": False, "mode": "get", "samples_log_interval": 5},
        "comms_logger": {"enabled": False, "prof_all": False, "prof_ops": ["all_reduce"]},
        "communication_data_type": "bf16",
        "csv_monitor": {"enabled": True, "output_path": "here", "job_name": "j"},
        "data_types": {"grad_accum_dtype": "bf16"},
        "disable_allgather": True,
        "disable_python_gc": True,
        "dump_state": True,
        "flops_profiler": {"enabled": True, "profile_step": 3, "output_file": "o"},
        "log_level": "error",
        "memory_breakdown": True,
        "steps_per_print": 7,
        "tensorboard": {"enabled": False, "output_path": "here"},
        "timers": {"throughput": {"enabled": False, "synchronized": False}},
        "wall_clock_breakdown": True,
        "wandb": {"enabled": False, "team": "t"},
        "zero_allow_untested_optimizer": True,
        **_zero(reduce_bucket_size=5e6, stage3_max_live_parameters="auto", overlap_comm=True),
    }
    assert set(own) == ALLOWED
    check_deepspeed(own, "mine.json")
    read = DeepSpeedConfig(complete(own, **ONE_RANK))
    assert read.steps_per_print == 7
    assert read.aio_config["block_size"] == 4096
    assert str(read.communication_data_type) == "torch.bfloat16"
    assert (read.grad_accum_dtype, read.log_level) == ("bf16", "error")
    assert read.monitor_config.csv_monitor.output_path == "here"
    assert read.flops_profiler_config.profile_step == 3
    assert read.timers_config.enabled is False
    assert read.zero_config.reduce_bucket_size == 5_000_000


@pytest.mark.parametrize("section", sorted(ALLOWED - {"zero_optimization"}))
def test_the_defaults_are_deepspeeds_own(section: str) -> None:
    """Of sections that DeepSpeed has a model for, key by key."""
    models = {
        **{name: field.annotation for name, field in DeepSpeedMonitorConfig.model_fields.items()},
        "comms_logger": CommsLoggerConfig,
    }
    if section in models:
        ours: Any = Settings.model_fields[section].annotation
        assert set(ours.model_fields) == set(models[section].model_fields)
        assert ours().model_dump() == models[section]().model_dump()


def test_gradients_of_fp32_are_not_summed_in_bf16() -> None:
    own = {**PLAIN, "data_types": {"grad_accum_dtype": "bf16"}}
    with pytest.raises(UserError, match="'bf16', but backbone.dtype is fp32"):
        complete(own, **{**ONE_RANK, "dtype": "fp32"})


BROKEN = {
    "null": '{"zero_optimization": null}',
    "empty": "{}",
    "stage": '{"zero_optimization": {"stage": "3"}}',
    "batch": '{"train_batch_size": 32, "zero_optimization": {"stage": 3}}',
    "value": '{"steps_per_print": "auto", "zero_optimization": {"stage": 3}}',
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize(
    "words",
    ["doctor demo", "fetch demo", "train demo", "launch demo --nproc 1 --dry-run"]
    + ["launch demo --slurm --nodes 2 --dry-run", "launch demo --hostfile HOSTS --dry-run"],
)
def test_every_command_refuses_a_broken_file(
    name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "mine.json"
    own.write_text(BROKEN[name])
    hosts = tmp_path / "hosts"
    hosts.write_text("n1 slots=1\n")
    command = words.replace("HOSTS", str(hosts)).split()
    assert main([*command, f"deepspeed={own}", f"run={tmp_path / 'run'}"]) == 2
    assert f"ptv2-scale: {own}: " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


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


def test_what_is_to_be_chosen_has_no_configuration_yet() -> None:
    config = RunConfig.model_validate({"backbone": {"name": "a"}, "task": {"name": "demo"}})
    with pytest.raises(ValueError, match="has not been chosen yet"):
        deepspeed_of(config)
    named = config.model_copy(update={"deepspeed": "zero1"})
    assert deepspeed_of(named) == load_deepspeed("zero1")


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


def test_paths_in_it_are_expanded_as_a_recipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    own = tmp_path / "mine.json"
    offload = {"device": "nvme", "nvme_path": "~/nvme"}
    csv = {"enabled": True, "output_path": "$HOME/csv"}
    off = {"stage3_max_reuse_distance": 0, "stage3_prefetch_bucket_size": 0}
    own.write_text(json.dumps({**_zero(offload_param=offload, **off), "csv_monitor": csv}))
    found = load_deepspeed(str(own))
    assert found["zero_optimization"]["offload_param"]["nvme_path"] == "/home/me/nvme"
    assert found["csv_monitor"]["output_path"] == "/home/me/csv"
    monkeypatch.delenv("HOME")
    own.write_text(own.read_text().replace("$HOME", "$NOWHERE_AT_ALL"))
    with pytest.raises(UserError, match="csv_monitor.output_path: found .* NOWHERE_AT_ALL is not"):
        load_deepspeed(str(own))


@pytest.mark.parametrize(
    ("zero", "said"),
    [
        ({"legacy_stage1": True}, "legacy_stage1: DeepSpeed 0.19 has removed it"),
        ({"compute_grad_norm": False}, "compute_grad_norm: found false; the norm shows"),
        (
            {"stage3_gather_fp16_weights_on_model_save": False},
            "write stage3_gather_16bit_weights_on_model_save",
        ),
        ({"stage3_module_granularity_threshold": 100_000}, "it gathers whole modules at once"),
        ({"module_granularity_threshold": 7}, "it gathers whole modules at once"),
        ({"reduce_bucket_size": 10**30}, r"allowed: up to 2\*\*63 - 1"),
        ({"stage": 2, "allgather_bucket_size": 7}, "found 7, allowed: even numbers"),
    ],
)
def test_values_on_which_deepspeed_ends_with_weights_loaded(
    zero: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        check_deepspeed({"zero_optimization": {"stage": 3, **zero}}, "own.json")


def test_values_next_to_them_are_taken() -> None:
    zero = {"compute_grad_norm": True, "legacy_stage1": False, "allgather_bucket_size": 8}
    for stage in (1, 2, 3):
        check_deepspeed({"zero_optimization": {"stage": stage, **zero}}, "own.json")
    odd = {"stage": 3, "allgather_bucket_size": 7, "stage3_module_granularity_threshold": 0}
    check_deepspeed({"zero_optimization": odd}, "own.json")


def test_no_text_holds_a_null_byte() -> None:
    config = {"zero_optimization": {"stage": 3}, "csv_monitor": {"job_name": "a\0b"}}
    with pytest.raises(UserError, match=r"csv_monitor.job_name: found 'a\\x00b'"):
        check_deepspeed(config, "own.json")


@pytest.mark.parametrize(
    ("offload", "said"),
    [
        ({"device": "nvme"}, "zero_optimization.offload_optimizer.device: input should be 'cpu'"),
        ({"device": "cpu", "ratio": 0.5}, "zero_optimization.offload_optimizer.ratio: extra"),
        ({"device": "cpu", "pin_memory": "yes"}, "offload_optimizer.pin_memory: input should be"),
        ({}, "zero_optimization.offload_optimizer.device: field required"),
        ("cpu", "zero_optimization.offload_optimizer: input should be"),
    ],
)
def test_optimizer_state_goes_to_the_cpu_where_the_backbone_is_trained(
    offload: Any, said: str
) -> None:
    good = _zero(offload_optimizer={"device": "cpu", "pin_memory": True})
    check_deepspeed(good, "mine.json", trains_backbone=True)
    with pytest.raises(UserError, match="prompt.method: full has more, and may"):
        check_deepspeed(good, "mine.json")
    with pytest.raises(UserError) as caught:
        check_deepspeed(_zero(offload_optimizer=offload), "mine.json", trains_backbone=True)
    assert said in str(caught.value)
    assert "mine.json: zero_optimization." in str(caught.value)


def test_a_trained_backbone_is_not_kept_on_nvme() -> None:
    with pytest.raises(UserError, match="nvme keeps weights that do not change"):
        load_deepspeed("zero3_offload_nvme", trains_backbone=True)
    assert load_deepspeed("zero3_offload_cpu", trains_backbone=True)


def test_an_offloaded_optimizer_is_pytorchs_own() -> None:
    config = complete(_zero(offload_optimizer={"device": "cpu"}), **ONE_RANK)
    assert config["zero_force_ds_cpu_optimizer"] is False
    assert "zero_force_ds_cpu_optimizer" not in complete(_zero(), **ONE_RANK)
