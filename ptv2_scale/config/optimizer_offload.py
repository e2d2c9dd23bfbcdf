"""What a DeepSpeed JSON may move to the CPU or NVMe where the backbone itself is trained.

A backbone's optimizer state is six times its bf16 weights; where the backbone is frozen there is
next to none, and moving it would only slow every step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

Config = dict[str, Any]

_KEY = "offload_optimizer"


class _OptimizerOffload(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    device: Literal["cpu", "none"]
    pin_memory: bool = False


def without_optimizer_offload(config: Config) -> Config:
    """The configuration without what only a trained backbone may ask for."""
    zero = config.get("zero_optimization")
    if not isinstance(zero, dict):
        return config
    return {**config, "zero_optimization": {key: zero[key] for key in zero if key != _KEY}}


def offload_problems(config: Config) -> Iterator[str]:
    """What cannot work with a trained backbone, each with the key's full name."""
    zero = config["zero_optimization"]
    if (zero.get("offload_param") or {}).get("device") == "nvme":
        yield (
            "zero_optimization.offload_param.device: nvme keeps weights that do not change, and"
            ' this recipe trains the backbone. Write "cpu", or leave offload_param out'
        )
    if zero.get(_KEY) is not None:
        try:
            _OptimizerOffload.model_validate(zero[_KEY])
        except ValidationError as error:
            for detail in error.errors():
                where = ".".join(["zero_optimization", _KEY, *map(str, detail["loc"])])
                yield (
                    f"{where}: {detail['msg'][0].lower()}{detail['msg'][1:]}. Allowed:"
                    ' {"device": "cpu", "pin_memory": true or false}'
                )


def is_optimizer_offloaded(config: Config) -> bool:
    """Whether the optimizer's state lies on the CPU."""
    return bool((config["zero_optimization"].get(_KEY) or {}).get("device") == "cpu")
