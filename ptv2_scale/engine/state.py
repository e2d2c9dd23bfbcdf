"""What is trained, as every rank holds it: out of DeepSpeed's engine, and back into it.

A trained tensor has an fp32 master copy and AdamW's two moments, cut flat over the ranks; the
copy that computes may be bf16. Stage 3 and stages 1 and 2 cut differently; both are told as
(name, first element, values), which any other number of ranks can read. Nothing is copied whole:
what is trained may be as large as the backbone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ptv2_scale.checkpoint.shards import LocalShard, Read
from ptv2_scale.runtime.heartbeat import report_progress
from ptv2_scale.runtime.pieces import ranges

_KEPT_OF_GROUPS = ("lr", "weight_decay")


def _inner_optimizer(engine: Any) -> torch.optim.Optimizer:
    optimizer: torch.optim.Optimizer = engine.optimizer.optimizer
    return optimizer


def make_optimizer_state(engine: Any) -> None:
    """Create AdamW's state now; it is made at the first step otherwise, too late to be restored."""
    if not engine.module.trained():
        return
    optimizer = _inner_optimizer(engine)
    for flat in _masters(engine):
        state = optimizer.state[flat]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(flat)
            state["exp_avg_sq"] = torch.zeros_like(flat)


def _masters(engine: Any) -> list[Tensor]:
    """DeepSpeed's flat fp32 master tensors; the optimizer's own groups are empty between steps."""
    zero = engine.optimizer
    stage3: list[Tensor] | None = getattr(zero, "fp32_partitioned_groups_flat", None)
    return list(zero.single_partition_of_fp32_groups if stage3 is None else stage3)


def local_shards(engine: Any) -> Iterator[LocalShard]:
    """This rank's shard of every trained tensor; ranks without a shard of one leave it out."""
    make_optimizer_state(engine)
    for name, parameter in engine.module.trained().items():
        located = _locate(engine, parameter)
        if located is not None:
            start, values = located
            yield LocalShard(name, shape_of(parameter), start, values)


def shape_of(parameter: Any) -> tuple[int, ...]:
    """Shape of a whole parameter, sharded or not."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


def _locate(engine: Any, parameter: Any) -> tuple[int, dict[str, Tensor]] | None:
    if hasattr(parameter, "ds_id"):
        return _locate_stage3(engine, parameter)
    return _locate_replicated(engine, parameter)


def _locate_stage3(engine: Any, parameter: Any) -> tuple[int, dict[str, Tensor]] | None:
    part = parameter.ds_tensor.ds_numel
    start = part * parameter.ds_zero_partition_rank
    length = min(part, parameter.ds_numel - start)
    if length <= 0:
        return None
    stage3 = parameter._z3_optimizer
    group, offset, _ = stage3.grad_position[stage3.get_param_id(parameter)]
    flat = stage3.fp32_partitioned_groups_flat[group]
    state = _inner_optimizer(engine).state[flat]
    whole = {"fp32": flat, "exp_avg": state["exp_avg"], "exp_avg_sq": state["exp_avg_sq"]}
    return start, {kind: t.detach().narrow(0, offset, length) for kind, t in whole.items()}


def _locate_replicated(engine: Any, parameter: Any) -> tuple[int, dict[str, Tensor]] | None:
    mapping = parameter._hp_mapping
    if mapping is None:
        return None
    flat = engine.optimizer.single_partition_of_fp32_groups[mapping.param_group_index]
    state = _inner_optimizer(engine).state[flat]
    whole = {"fp32": flat, "exp_avg": state["exp_avg"], "exp_avg_sq": state["exp_avg_sq"]}
    address = mapping.get_hp_fragment_address()
    values = {k: t.detach().narrow(0, address.start, address.numel) for k, t in whole.items()}
    return mapping.lp_fragment_address.start, values


class EngineState:
    """What an engine trains, for the checkpoints' `Trained`.

    Args:
        engine: DeepSpeed's, with a `PromptedModel`.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def shards(self) -> Iterator[LocalShard]:
        """See `Trained`."""
        return local_shards(self._engine)

    def restore(self, read: Read, updates: int) -> None:
        """See `Trained`."""
        restore(self._engine, read, updates)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """See `Trained`."""
        if not self._engine.module.trained():
            return []
        groups = self._engine.optimizer.param_groups
        return [{key: group[key] for key in _KEPT_OF_GROUPS} for group in groups]


def restore(engine: Any, read: Read, updates: int) -> None:
    """Put trained values and optimizer state into an engine, whoever wrote them.

    Args:
        engine: DeepSpeed's, with a `PromptedModel`.
        read: gives any flat range of any trained tensor.
        updates: optimizer steps that led to them.
    """
    for shard in local_shards(engine):
        for kind in shard.values:
            _set_master(shard, kind, read)
    for flat in _masters(engine) if engine.module.trained() else ():
        _inner_optimizer(engine).state[flat]["step"].fill_(float(updates))
    for name, parameter in engine.module.trained().items():
        _set_computing_copy(name, parameter, read)


def set_values(engine: Any, values: Mapping[str, Tensor]) -> None:
    """Set some trained tensors to whole values, by name; the optimizer state stays as it is."""

    def read(name: str, kind: str, start: int, stop: int) -> Tensor:
        return values[name].reshape(-1)[start:stop]

    for shard in local_shards(engine):
        if shard.name in values:
            _set_master(shard, "fp32", read)
    for name, parameter in engine.module.trained().items():
        if name in values:
            _set_computing_copy(name, parameter, read)


def _set_master(shard: LocalShard, kind: str, read: Read) -> None:
    target, start = shard.values[kind], shard.start
    for low, high in ranges(0, target.numel()):
        report_progress("restoring a checkpoint")
        target[low:high].copy_(read(shard.name, kind, start + low, start + high))


def _set_computing_copy(name: str, parameter: Any, read: Read) -> None:
    """Set the (bf16) tensor that computes from the fp32 values `read` gives."""
    if not hasattr(parameter, "ds_id"):
        flat, start, count = parameter.data.view(-1), 0, parameter.numel()
    else:
        # A gathered copy would hide the new values until it is next released.
        parameter.partition()
        flat = parameter.ds_tensor
        start = flat.ds_numel * parameter.ds_zero_partition_rank
        count = min(flat.ds_numel, parameter.ds_numel - start)
        # hpZ's second copy is made anew from the first at the next gather.
        parameter.ds_secondary_tensor = None
    for low, high in ranges(0, count):
        flat[low:high].copy_(read(name, "fp32", start + low, start + high))
