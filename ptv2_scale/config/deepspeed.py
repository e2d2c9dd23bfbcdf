"""DeepSpeed's JSON: found by name or path, checked, and completed from the recipe.

DeepSpeed takes an unknown key in silence (`zero_optimisation` turns ZeRO off), and some known keys
destroy a frozen backbone. So every key and value is checked as the file is read, for every command
alike, before DeepSpeed sees it. The values "auto" of the shipped files are filled in by `complete`.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from ptv2_scale.config.deepspeed_check import Config, kind_of, problems_of
from ptv2_scale.config.optimizer_offload import (
    is_optimizer_offloaded,
    offload_problems,
    without_optimizer_offload,
)
from ptv2_scale.config.recipe import RunConfig
from ptv2_scale.runtime.errors import UserError, did_you_mean
from ptv2_scale.runtime.files import read_json
from ptv2_scale.runtime.paths import expand_path
from ptv2_scale.runtime.shipped import shipped_folder

AUTO = "auto"  # the ranks of a run choose; see estimate/sharding.py
NVME_FOLDER = "PTV2_SCALE_NVME"
LARGEST_BUCKET = 500_000_000  # DeepSpeed's own default, in elements
_PRINT_NEVER = 1_000_000_000  # steps
_PATHS = (
    ("zero_optimization", "offload_param", "nvme_path"),
    ("tensorboard", "output_path"),
    ("csv_monitor", "output_path"),
    ("flops_profiler", "output_file"),
)
_SHOWN = 20  # problems: a file that has more is none of DeepSpeed's


def shipped_configs() -> dict[str, Path]:
    """The configurations that come with this package: name -> JSON file."""
    return {file.stem: file for file in sorted(shipped_folder("ds_configs").glob("zero*.json"))}


def load_deepspeed(name_or_path: str, *, trains_backbone: bool = False) -> Config:
    """Read and check a DeepSpeed configuration: what it gives, DeepSpeed takes.

    Args:
        name_or_path: the name of a shipped configuration ("zero3") or the path of a JSON file.
        trains_backbone: the recipe trains the backbone's own parameters; they are frozen otherwise.

    Raises:
        UserError: there is no such configuration, it is not one JSON object, or keys or values in
            it are unknown or cannot work with such a backbone; names all of them.
    """
    shipped = shipped_configs()
    if name_or_path in shipped:
        config = dict(read_json(shipped[name_or_path]))
        if trains_backbone:
            _refuse(offload_problems(config), f"deepspeed: {name_or_path}")
        return config
    path = Path(name_or_path)
    if not os.path.isfile(path):
        raise UserError(
            f"deepspeed: there is no configuration '{name_or_path}'. Allowed: {AUTO}, one of "
            f"{', '.join(shipped)}, or the path of a JSON file of DeepSpeed."
            f"{did_you_mean(name_or_path, [AUTO, *shipped])}"
        )
    config = read_json(path, unique_keys=True)
    if not isinstance(config, dict):
        raise UserError(f"{path}: found {kind_of(config)}, a JSON object is needed: {{...}}")
    check_deepspeed(config, str(path), trains_backbone=trains_backbone)
    _expand_paths(config, str(path))
    return config


def deepspeed_of(config: RunConfig) -> Config:
    """The DeepSpeed configuration that a recipe names; see `load_deepspeed`.

    Raises:
        ValueError: the recipe says `auto`, and whoever asks should have had it chosen first.
    """
    if config.deepspeed == AUTO:
        raise ValueError("deepspeed: auto has not been chosen yet")
    return load_deepspeed(config.deepspeed, trains_backbone=config.prompt.TRAINS_BACKBONE)


def stage_of(config: Config, dtype: str) -> int:
    """ZeRO's stage of a checked configuration, as it is run: in bf16, stage 2 in place of stage 1.

    For stage 1 in bf16 DeepSpeed has an optimizer of another kind, which applies gradients that are
    not finite, and keeps its values where no checkpoint of ours looks. Stage 2 shards the same
    state, and gradients too.

    Args:
        config: a checked configuration.
        dtype: "bf16" or "fp32".
    """
    stage = int(config["zero_optimization"].get("stage", 0))
    return 2 if stage == 1 and dtype == "bf16" else stage


def check_deepspeed(config: Config, source: str, *, trains_backbone: bool = False) -> None:
    """Refuse what DeepSpeed would ignore, and what it or the backbone cannot work with.

    Args:
        config: the value of a JSON file.
        source: its path, for the message.
        trains_backbone: see `load_deepspeed`.

    Raises:
        UserError: names the keys that are unknown or whose values cannot work, with the reasons.
    """
    if not trains_backbone:
        _refuse(problems_of(config), source)
        return
    _refuse(problems_of(without_optimizer_offload(config)), source)
    _refuse(offload_problems(config), source)


def _refuse(found: Iterable[str], source: str) -> None:
    problems = list(islice(found, _SHOWN))
    if problems:
        raise UserError("\n".join(f"{source}: {problem}" for problem in problems))


def _expand_paths(config: Config, source: str) -> None:
    for *sections, key in _PATHS:
        inside = config
        for section in sections:
            inside = inside.get(section) or {}
        if inside.get(key):
            try:
                inside[key] = expand_path(inside[key])
            except ValueError as error:
                name = ".".join((*sections, key))
                raise UserError(f"{source}: {name}: found '{inside[key]}', but {error}.") from None


def complete(
    config: Config,
    *,
    world: int,
    micro_batch: int,
    accumulation: int,
    clip: float | None,
    dtype: str,
    trained: int,
    ranks_per_host: int,
) -> Config:
    """Add what the recipe and the ranks decide. `config` is left as it is.

    Args:
        config: a checked configuration.
        world: number of ranks.
        micro_batch: rows a rank and micro-step.
        accumulation: micro-steps a step.
        clip: largest norm of the gradient; None: no clipping.
        dtype: "bf16" or "fp32".
        trained: number of trained parameters; gradient buckets are not made larger than that.
        ranks_per_host: ranks on each host.

    Raises:
        UserError: hpZ does not divide the ranks, no folder on NVMe is named, or gradients would be
            summed in fewer bits than they are computed in.
    """
    if dtype == "fp32" and config.get("data_types", {}).get("grad_accum_dtype") == "bf16":
        raise UserError(
            "data_types.grad_accum_dtype: found 'bf16', but backbone.dtype is fp32. Write \"fp32\","
            " or set backbone.dtype=bf16."
        )
    full = copy.deepcopy(config)
    full.setdefault("zero_allow_untested_optimizer", True)
    full.setdefault("steps_per_print", _PRINT_NEVER)
    full.update(
        train_batch_size=micro_batch * accumulation * world,
        train_micro_batch_size_per_gpu=micro_batch,
        gradient_accumulation_steps=accumulation,
        gradient_clipping=clip or 0.0,
        bf16={"enabled": dtype == "bf16"},
    )
    if is_optimizer_offloaded(full):
        # AdamW is PyTorch's own there too: DeepSpeed's for the CPU is built at run time.
        full["zero_force_ds_cpu_optimizer"] = False
    zero = full["zero_optimization"]
    zero["stage"] = stage_of(full, dtype)
    if zero.get("reduce_bucket_size", "auto") == "auto":
        zero["reduce_bucket_size"] = min(max(trained, 1), LARGEST_BUCKET)
    if "zero_hpz_partition_size" in zero:
        zero["zero_hpz_partition_size"] = hpz_size(zero, world, ranks_per_host)
    if (zero.get("offload_param") or {}).get("nvme_path") == "auto":
        zero["offload_param"]["nvme_path"] = _nvme_folder()
    return full


def hpz_size(zero: Config, world: int, ranks_per_host: int) -> int:
    """Ranks that share hpZ's second copy of the backbone.

    Args:
        zero: section zero_optimization of a checked configuration, with zero_hpz_partition_size.
        world: number of ranks.
        ranks_per_host: ranks on each host.

    Raises:
        UserError: it does not divide the ranks.
    """
    size = zero["zero_hpz_partition_size"]
    if size == "auto":
        # On one host the second shard would be the first one again: memory for nothing.
        size = ranks_per_host if ranks_per_host < world else 1
    if size > 1 and world % size:
        raise UserError(
            f"zero_optimization.zero_hpz_partition_size: {size} does not divide the {world} ranks; "
            "start as many ranks on every host, or set the size to a divisor"
        )
    return int(size)


def _nvme_folder() -> str:
    folder = os.environ.get(NVME_FOLDER)
    if not folder or not os.access(folder, os.W_OK):
        raise UserError(
            "zero_optimization.offload_param.nvme_path: no folder on a local NVMe disk is known "
            f"({NVME_FOLDER} is {folder or 'not set'}). Set {NVME_FOLDER} on every host to a "
            "folder that can be written, or write nvme_path into a JSON file of your own."
        )
    return folder
