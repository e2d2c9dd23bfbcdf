"""What is trained, as every rank holds it: out of DeepSpeed's engine, and back into it.

A trained tensor has an fp32 master copy and AdamW's two moments, cut flat over the ranks; the
copy that computes may be bf16. Stage 3 and stages 1 and 2 cut differently; both are told as
(name, first element, values), which any other number of ranks can read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ptv2_scale.checkpoint.shards import LocalPart, Read


def _inner_optimizer(engine: Any) -> torch.optim.Optimizer:
    optimizer: torch.optim.Optimizer = engine.optimizer.optimizer
    return optimizer


def make_optimizer_state(engine: Any) -> None:
    """Create AdamW's state now; it is made at the first step otherwise, too late to be restored."""
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


def local_parts(engine: Any) -> Iterator[LocalPart]:
    """This rank's part of every trained tensor; ranks without a part of one leave it out."""
    make_optimizer_state(engine)
    for name, parameter in engine.module.trained().items():
        located = _locate(engine, parameter)
        if located is not None:
            start, values = located
            shape = tuple(getattr(parameter, "ds_shape", parameter.shape))
            yield LocalPart(name, shape, start, values)


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


def restore(engine: Any, read: Read, steps: int) -> None:
    """Put trained values and optimizer state into an engine, whoever wrote them.

    Args:
        engine: DeepSpeed's, with a `PromptedModel`.
        read: gives any flat range of any trained tensor.
        steps: optimizer steps that led to them.
    """
    for part in local_parts(engine):
        for kind, target in part.values.items():
            target.copy_(read(part.name, kind, part.start, part.start + target.numel()))
    for flat in _masters(engine):
        _inner_optimizer(engine).state[flat]["step"].fill_(float(steps))
    for name, parameter in engine.module.trained().items():
        _set_computing_copy(name, parameter, read)


def set_values(engine: Any, values: Mapping[str, Tensor]) -> None:
    """Set some trained tensors to whole values, by name; the optimizer state stays as it is."""

    def read(name: str, kind: str, start: int, stop: int) -> Tensor:
        return values[name].reshape(-1)[start:stop]

    for part in local_parts(engine):
        if part.name in values:
            target = part.values["fp32"]
            target.copy_(read(part.name, "fp32", part.start, part.start + target.numel()))
    for name, parameter in engine.module.trained().items():
        if name in values:
            _set_computing_copy(name, parameter, read)


def _set_computing_copy(name: str, parameter: Any, read: Read) -> None:
    """Set the (bf16) tensor that computes from the fp32 values `read` gives."""
    if not hasattr(parameter, "ds_id"):
        parameter.data.view(-1).copy_(read(name, "fp32", 0, parameter.numel()))
        return
    # A gathered copy would hide the new values until it is next released.
    parameter.partition()
    start = parameter.ds_tensor.ds_numel * parameter.ds_zero_partition_rank
    stop = min(start + parameter.ds_tensor.ds_numel, parameter.ds_numel)
    if start < stop:
        parameter.ds_tensor[: stop - start].copy_(read(name, "fp32", start, stop))
    # hpZ's second copy is made anew from the first at the next gather.
    parameter.ds_secondary_tensor = None


def full_values(engine: Any) -> dict[str, Tensor]:
    """Whole fp32 master values of everything that is trained, on the CPU of every rank."""
    parts = {part.name: part for part in local_parts(engine)}
    values: dict[str, Tensor] = {}
    for name, parameter in engine.module.trained().items():
        shape = torch.Size(getattr(parameter, "ds_shape", parameter.shape))
        whole = torch.zeros(shape.numel(), dtype=torch.float32, device=engine.device)
        part = parts.get(name)
        if part is not None:
            own = part.values["fp32"]
            whole[part.start : part.start + own.numel()].copy_(own)
        torch.distributed.all_reduce(whole)
        values[name] = whole.view(shape).cpu()
    return values
