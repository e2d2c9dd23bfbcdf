"""What is wrong with a DeepSpeed JSON: keys that it would ignore, and values that it cannot use."""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ptv2_scale.config.deepspeed_keys import (
    ALLOWED,
    NEEDED_IN_ZERO,
    REFUSED,
    REFUSED_EVEN_OFF_IN_ZERO,
    REFUSED_IN_DATA_TYPES,
    REFUSED_IN_ZERO,
)
from ptv2_scale.config.deepspeed_values import NEEDED_PACKAGES, Settings
from ptv2_scale.runtime.errors import did_you_mean
from ptv2_scale.runtime.packages import is_installed

Config = dict[str, Any]

_LONGEST = 60  # of a value that is shown
_LARGEST = (1 << 63) - 1  # of PyTorch's whole numbers


def problems_of(config: Config) -> Iterator[str]:
    """All that is wrong, each as the key's full name and what it is about."""
    yield from _refused(config)
    yield from _wrong_values(config)
    yield from _missing_packages(config)
    yield from _zero_problems(config.get("zero_optimization"))


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    names = {dict: "an object", list: "a list", str: "a string", type(None): "nothing"}
    return names.get(type(value), repr(value))


def _refused(config: Config) -> Iterator[str]:
    for key, value in config.items():
        if key in REFUSED and not _is_off(key, value):
            yield f"{key}: {REFUSED[key]}"
        elif key not in REFUSED and key not in ALLOWED:
            yield _unknown((key,), ALLOWED)
    types = config.get("data_types")
    for key in REFUSED_IN_DATA_TYPES.keys() & (types if isinstance(types, dict) else {}):
        yield f"data_types.{key}: {REFUSED_IN_DATA_TYPES[key]}"


def _is_off(key: str, value: Any) -> bool:
    return key == "fp16" and isinstance(value, dict) and value.get("enabled") is False


def _unknown(path: Sequence[str], allowed: frozenset[str]) -> str:
    guess = did_you_mean(path[-1], sorted(allowed)) or f" Allowed: {', '.join(sorted(allowed))}."
    return f"{'.'.join(path)}: DeepSpeed has no such key and would ignore it.{guess}"


def _wrong_values(config: Config) -> Iterator[str]:
    known = {key: value for key, value in config.items() if key in ALLOWED}
    try:
        Settings.model_validate(known)
    except ValidationError as error:
        for detail in error.errors():
            yield from _wrong_value(detail)


def _wrong_value(detail: ErrorDetails) -> Iterator[str]:
    path = [str(step) for step in detail["loc"]]
    if detail["type"] != "extra_forbidden":
        yield f"{'.'.join(path)}: found {_shown(detail['input'])}, {_wanted(detail)}"
    elif path[0] != "data_types" or path[-1] not in REFUSED_IN_DATA_TYPES:
        yield _unknown(path, _keys_at(path[:-1]))


def _keys_at(path: Sequence[str]) -> frozenset[str]:
    model: Any = Settings
    for key in path:
        model = model.model_fields[key].annotation
    return frozenset(model.model_fields)


def _wanted(detail: ErrorDetails) -> str:
    if detail["type"] == "model_type":
        return "allowed: an object of settings, {...}, or no such key"
    hint = ""
    if detail["input"] == "auto":
        hint = '; "auto" is for values of zero_optimization: leave the key out for the default'
    return detail["msg"].replace("Input should be", "allowed:") + hint


def _shown(value: Any) -> str:
    if isinstance(value, dict | list) or value is None:
        return kind_of(value) if value is not None else "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _missing_packages(config: Config) -> Iterator[str]:
    for section, package in NEEDED_PACKAGES.items():
        settings = config.get(section)
        enabled = isinstance(settings, dict) and settings.get("enabled") is True
        if enabled and not is_installed(package):
            yield (
                f"{section}.enabled: the package {package} is not installed. Install it with pip,"
                " or leave the section out"
            )


def _zero_problems(zero: Any) -> Iterator[str]:
    if not isinstance(zero, dict):
        yield (
            f"zero_optimization: found {kind_of(zero)}; an object with a stage is needed, "
            'such as {"stage": 3}'
        )
        return
    known = [*_unknown_zero_keys(zero), *_refused_in_zero(zero)]
    yield from known
    if not known:
        yield from _stage_problems(zero)
        yield from _zero_values(zero)


def _refused_in_zero(zero: Config) -> Iterator[str]:
    for key, value in zero.items():
        if key in REFUSED_IN_ZERO and value not in (False, None):
            yield f"zero_optimization.{key}: {REFUSED_IN_ZERO[key]}"
        if key in REFUSED_EVEN_OFF_IN_ZERO:
            yield f"zero_optimization.{key}: {REFUSED_EVEN_OFF_IN_ZERO[key]}"
        if key in NEEDED_IN_ZERO and value is False:
            yield f"zero_optimization.{key}: found false; {NEEDED_IN_ZERO[key]}"


def _unknown_zero_keys(zero: Config) -> Iterator[str]:
    with _quietly():
        from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
        from deepspeed.runtime.zero.offload_config import DeepSpeedZeroOffloadParamConfig

    allowed = _field_names(DeepSpeedZeroConfig)
    for key in zero:
        if key not in allowed and key not in REFUSED_IN_ZERO:
            yield _unknown(("zero_optimization", key), allowed - REFUSED_IN_ZERO.keys())
    offload = zero.get("offload_param")
    inner = _field_names(DeepSpeedZeroOffloadParamConfig)
    for key in offload if isinstance(offload, dict) else ():
        if key not in inner:
            yield _unknown(("zero_optimization", "offload_param", key), inner)


def _field_names(model: Any) -> frozenset[str]:
    fields: Mapping[str, Any] = model.model_fields
    return frozenset(fields) | {field.alias for field in fields.values() if field.alias}


def _stage_problems(zero: Config) -> Iterator[str]:
    stage = zero.get("stage")
    if type(stage) is not int or stage not in (1, 2, 3):
        yield (
            f"zero_optimization.stage: found {stage!r}, allowed: 1, 2 or 3 "
            "(3 shards the backbone, 1 and 2 keep a copy on every rank)"
        )
    elif stage < 3:
        for key in ("offload_param", "zero_hpz_partition_size"):
            if zero.get(key) is not None:
                yield (
                    f"zero_optimization.{key}: acts on sharded weights; it needs stage 3,"
                    f" not {stage}"
                )


def _zero_values(zero: Config) -> Iterator[str]:
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    try:
        read = DeepSpeedZeroConfig(**copy.deepcopy(zero))
    except ValidationError as error:
        for detail in error.errors():
            where = ".".join(["zero_optimization", *map(str, detail["loc"])])
            yield f"{where}: found {_shown(detail['input'])}, {_wanted(detail)}"
    except (AssertionError, AttributeError, ValueError) as error:
        yield f"zero_optimization: DeepSpeed refuses it: {' '.join(str(error).split())[:300]}"
    else:
        yield from _other_types(("zero_optimization",), zero, read)
        yield from _missing_folder(zero)
        yield from _held_buffers(zero)
        if read.stage < 3 and read.allgather_bucket_size % 2:
            yield (
                f"zero_optimization.allgather_bucket_size: found {read.allgather_bucket_size},"
                " allowed: even numbers"
            )


def _other_types(path: Sequence[str], given: Config, read: BaseModel) -> Iterator[str]:
    """Values that DeepSpeed would take for another type's: "8" and true for numbers."""
    for name, field in type(read).model_fields.items():
        key = field.alias if field.alias in given else name
        if key not in given or given[key] == "auto":
            continue
        value, found = given[key], getattr(read, name)
        if isinstance(found, BaseModel) and isinstance(value, dict):
            yield from _other_types((*path, key), value, found)
        elif isinstance(found, bool | int | float) and _is_slip(value, found):
            wanted = "true or false" if isinstance(found, bool) else "a number, without quotes"
            yield f"{'.'.join((*path, key))}: found {_shown(value)}, allowed: {wanted}"
        elif isinstance(found, int) and found > _LARGEST:
            yield f"{'.'.join((*path, key))}: found {_shown(value)}, allowed: up to 2**63 - 1"


def _is_slip(value: Any, found: float) -> bool:
    return isinstance(value, str) or (isinstance(value, bool) and not isinstance(found, bool))


def _missing_folder(zero: Config) -> Iterator[str]:
    offload = zero.get("offload_param") or {}
    if offload.get("device") == "nvme" and not offload.get("nvme_path"):
        yield (
            'zero_optimization.offload_param.nvme_path: missing, but "device": "nvme" needs it:'
            ' a folder, or "auto" for the one that PTV2_SCALE_NVME names'
        )


def _held_buffers(zero: Config) -> Iterator[str]:
    """On NVMe, what is kept or read ahead takes buffers that modules then lack as they run."""
    if (zero.get("offload_param") or {}).get("device") != "nvme":
        return
    for key in ("stage3_max_reuse_distance", "stage3_prefetch_bucket_size"):
        if zero.get(key) != 0:
            yield (
                f"zero_optimization.{key}: found {zero.get(key, 'nothing')}, allowed with"
                ' "device": "nvme": 0. Each weight that is kept for later takes one of a few'
                " buffers, and DeepSpeed ends once there is none"
            )


@contextmanager
def _quietly() -> Iterator[None]:
    """DeepSpeed tells standard output which accelerator it sees as it is first imported."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        logging.disable(before)
