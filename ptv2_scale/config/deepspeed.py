"""DeepSpeed's JSON: found by name or path, checked, and completed from the recipe.

DeepSpeed takes an unknown key in silence (`zero_optimisation` turns ZeRO off), and some known keys
destroy a frozen backbone. So every key is checked here before DeepSpeed sees it. The values
"auto" of the shipped files are filled in by `complete`.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ptv2_scale.config.deepspeed_keys import ALLOWED, REFUSED, REFUSED_IN_ZERO
from ptv2_scale.runtime.errors import UserError, did_you_mean
from ptv2_scale.runtime.files import read_json

Config = dict[str, Any]

NVME_FOLDER = "PTV2_SCALE_NVME"
_LARGEST_BUCKET = 500_000_000  # DeepSpeed's own default, in elements
_PRINT_NEVER = 1_000_000_000  # steps
_SHOWN = 20  # problems: a file that has more is none of DeepSpeed's


def shipped_configs() -> dict[str, Path]:
    """The configurations that come with this package: name -> JSON file."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "ds_configs", package.parent / "ds_configs"):  # wheel, checkout
        found = {file.stem: file for file in sorted(folder.glob("zero*.json"))}
        if found:
            return found
    return {}


def load_deepspeed(name_or_path: str) -> Config:
    """Read a DeepSpeed configuration.

    Args:
        name_or_path: the name of a shipped configuration ("zero3") or the path of a JSON file.

    Raises:
        UserError: there is no such configuration, or it is not one JSON object.
    """
    shipped = shipped_configs()
    path = shipped.get(name_or_path, Path(name_or_path))
    if not os.path.isfile(path):
        raise UserError(
            f"deepspeed: there is no configuration '{name_or_path}'. Allowed: one of "
            f"{', '.join(shipped)}, or the path of a JSON file of DeepSpeed."
            f"{did_you_mean(name_or_path, list(shipped))}"
        )
    config = read_json(path, unique_keys=True)
    if not isinstance(config, dict):
        raise UserError(f"{path}: found {_kind(config)}, a JSON object is needed: {{...}}")
    return config


def check_deepspeed(config: Config, source: str) -> None:
    """Refuse what DeepSpeed would ignore, and what cannot work with a frozen backbone.

    Args:
        config: what `load_deepspeed` gave.
        source: its name or path, for the message.

    Raises:
        UserError: names the keys that are unknown or cannot work, with the reasons.
    """
    found = chain(_top_level_problems(config), _zero_problems(config.get("zero_optimization")))
    problems = list(islice(found, _SHOWN))
    if problems:
        raise UserError("\n".join(f"{source}: {problem}" for problem in problems))


def _top_level_problems(config: Config) -> Iterator[str]:
    for key, value in config.items():
        if key in REFUSED:
            if not (key == "fp16" and isinstance(value, dict) and value.get("enabled") is False):
                yield f"{key}: {REFUSED[key]}"
        elif key not in ALLOWED:
            yield _unknown(key, ALLOWED)


def _unknown(key: str, allowed: frozenset[str], prefix: str = "") -> str:
    return (
        f"{prefix}{key}: DeepSpeed has no such key and would ignore it."
        f"{did_you_mean(key, sorted(allowed)) or ' Allowed: ' + ', '.join(sorted(allowed)) + '.'}"
    )


def _zero_problems(zero: Any) -> Iterator[str]:
    if not isinstance(zero, dict):
        yield (
            f"zero_optimization: found {_kind(zero)}; an object with a stage is needed, "
            'such as {"stage": 3}'
        )
        return
    known = list(_unknown_zero_keys(zero)) + [
        f"zero_optimization.{key}: {REFUSED_IN_ZERO[key]}"
        for key, value in zero.items()
        if key in REFUSED_IN_ZERO and value not in (False, None)
    ]
    yield from known
    if not known:
        yield from _stage_problems(zero)
        yield from _value_problems(zero)


def _unknown_zero_keys(zero: Config) -> Iterator[str]:
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
    from deepspeed.runtime.zero.offload_config import DeepSpeedZeroOffloadParamConfig

    allowed = _field_names(DeepSpeedZeroConfig)
    for key in zero:
        if key not in allowed and key not in REFUSED_IN_ZERO:
            yield _unknown(key, allowed - REFUSED_IN_ZERO.keys(), "zero_optimization.")
    offload = zero.get("offload_param")
    inner = _field_names(DeepSpeedZeroOffloadParamConfig)
    for key in offload if isinstance(offload, dict) else ():
        if key not in inner:
            yield _unknown(key, inner, "zero_optimization.offload_param.")


def _field_names(model: Any) -> frozenset[str]:
    fields: Mapping[str, Any] = model.model_fields
    return frozenset(fields) | {field.alias for field in fields.values() if field.alias}


def _stage_problems(zero: Config) -> Iterator[str]:
    stage = zero.get("stage")
    if stage not in (1, 2, 3) or isinstance(stage, bool):
        yield (
            f"zero_optimization.stage: found {stage!r}, allowed: 1, 2 or 3 "
            "(3 shards the backbone, 1 and 2 keep a copy on every rank)"
        )
    elif stage < 3:
        for key in sorted({"offload_param", "zero_hpz_partition_size"} & zero.keys()):
            yield f"zero_optimization.{key}: acts on sharded weights; it needs stage 3, not {stage}"


def _value_problems(zero: Config) -> Iterator[str]:
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
    from pydantic import ValidationError

    try:
        DeepSpeedZeroConfig(**copy.deepcopy(zero))
    except ValidationError as error:
        for detail in error.errors():
            where = ".".join(str(part) for part in detail["loc"])
            yield f"zero_optimization.{where}: found {detail['input']!r}; {detail['msg']}"


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", type(None): "nothing"}
    return names.get(type(value), repr(value))


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
        UserError: hpZ does not divide the ranks, or no folder on NVMe is named.
    """
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
    zero = full["zero_optimization"]
    if zero.get("reduce_bucket_size", "auto") == "auto":
        zero["reduce_bucket_size"] = min(max(trained, 1), _LARGEST_BUCKET)
    if "zero_hpz_partition_size" in zero:
        zero["zero_hpz_partition_size"] = _hpz_size(zero, world, ranks_per_host)
    if (zero.get("offload_param") or {}).get("nvme_path") == "auto":
        zero["offload_param"]["nvme_path"] = _nvme_folder()
    return full


def _hpz_size(zero: Config, world: int, ranks_per_host: int) -> int:
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
