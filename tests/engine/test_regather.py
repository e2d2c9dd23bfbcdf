"""Weights that are gathered again in backward: memory between the passes, equal gradients."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ranks
import torch
from deepspeed.runtime.zero.partition_parameters import ZeroParamStatus
from tiny import write_recipe
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from transformers.pytorch_utils import Conv1D

from ptv2_scale.backbones.int8 import Int8Linear, quantise
from ptv2_scale.engine.regather import gather_again_in_backward

MEMORY_WORKER = Path(__file__).parents[1] / "estimate" / "memory_worker.py"


class OneRank:
    """Parameters as ZeRO-3 has them: without memory but while a module runs forward.

    Args:
        model: its parameters are taken over.
        backward: whether they are gathered before the backward pass, as DeepSpeed does for modules
            whose outputs it finds.
        on_nvme: whether a weight that is given back leaves its memory to the next one.
    """

    def __init__(self, model: nn.Module, backward: bool, on_nvme: bool = False) -> None:
        self.on_nvme = on_nvme
        self.buffers: list[StorageWeakRef] = []
        self.parameters: list[Any] = list(model.parameters())
        for number, one in enumerate(self.parameters):
            self._take(one, number, one.detach().clone())
        for module in model.modules():
            own = list(module.parameters(recurse=False))
            module.register_forward_pre_hook(lambda *_, own=own: self._each(own, "all_gather"))
            module.register_forward_hook(lambda *_, own=own: self._each(own, "partition"))
            if backward:
                module.register_full_backward_pre_hook(
                    lambda *_, own=own: self._each(own, "all_gather")
                )

    def _each(self, parameters: list[Any], action: str) -> None:
        for one in parameters:
            getattr(one, action)()

    def _take(self, parameter: Any, number: int, values: Tensor) -> None:
        def gather() -> None:
            # In a buffer with others, as when several are gathered at once.
            buffer = torch.cat((torch.zeros(number + 1), values.flatten()))
            self.buffers.append(StorageWeakRef(buffer.untyped_storage()))
            parameter.data = buffer[number + 1 :].view(values.shape)
            parameter.ds_status = ZeroParamStatus.AVAILABLE

        def partition() -> None:
            if self.on_nvme:
                parameter.data.fill_(torch.nan)
            parameter.data = torch.empty(0)
            parameter.ds_status = ZeroParamStatus.NOT_AVAILABLE

        parameter.ds_id, parameter.all_gather, parameter.partition = number, gather, partition
        parameter.ds_tensor = SimpleNamespace(final_location="nvme" if self.on_nvme else None)
        partition()

    def live(self) -> int:
        """Buffers that are still in memory."""
        return sum(not one.expired() for one in self.buffers)


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(6, 8), nn.GELU(), Conv1D(6, 8), nn.LayerNorm(6), nn.Linear(6, 4, bias=False)
    )


def network_in_8_bits() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 4), nn.Linear(4, 6, bias=False))
    for layer in (model[2], model[3]):
        layer.weight = nn.Parameter(quantise(layer.weight.detach(), torch.float32))
        layer.__class__ = Int8Linear
    return model


@pytest.mark.parametrize(
    ("trained", "backward", "on_nvme", "network"),
    [
        (True, True, False, network),
        (False, True, False, network),
        (False, False, False, network),
        (False, False, True, network),
        (False, False, False, network_in_8_bits),
    ],
    ids=["trained", "frozen", "frozen, gathered for one use", "the same from NVMe", "in 8 bits"],
)
def test_no_weight_is_kept_and_gradients_have_the_same_bits(
    trained: bool, backward: bool, on_nvme: bool, network: Callable[[], nn.Module]
) -> None:
    plain = network().requires_grad_(trained)
    sharded = copy.deepcopy(plain)
    rank = OneRank(sharded, backward, on_nvme)
    gather_again_in_backward(sharded)
    inputs = torch.randn(2, 5, 6), torch.randn(2, 5, 6)
    expected, found = (tuple(one.clone().requires_grad_() for one in inputs) for _ in range(2))
    plain(expected[0]).square().sum().add(plain(expected[1]).sum()).backward()
    # Two forward passes before the backward pass, as of a text's two candidates.
    loss = sharded(found[0]).square().sum() + sharded(found[1]).sum()
    assert rank.live() == 0
    loss.backward()
    assert all(torch.equal(one.grad, two.grad) for one, two in zip(found, expected, strict=True))
    if trained:
        gradients = [one.grad for one in plain.parameters()]
        assert all(map(torch.equal, (one.grad for one in rank.parameters), gradients))
    if not backward:
        assert rank.live() == 0


def test_what_a_forward_pass_raises_leaves_no_hook_behind() -> None:
    model = network()
    gather_again_in_backward(model)
    with pytest.raises(RuntimeError):
        model(torch.zeros(1, 7))
    weight = nn.Parameter(torch.ones(3))
    product = weight * torch.ones(3, requires_grad=True)
    assert product.grad_fn._saved_self is weight  # would be another tensor if it were packed


def test_a_rank_needs_far_less_than_the_backbone_without_checkpointing(tmp_path: Path) -> None:
    """A backbone of 18.9 MB; its largest weight has 1 MB, and texts and prefix are short."""
    zero = {
        "stage": 3,
        "stage3_max_live_parameters": 300_000,
        "stage3_max_reuse_distance": 0,
        "stage3_prefetch_bucket_size": 10_000,
        "stage3_param_persistence_threshold": 2000,
    }
    settings = tmp_path / "zero.json"
    settings.write_text(json.dumps({"zero_optimization": zero}))
    layers, width = 6, 256
    recipe = write_recipe(
        tmp_path, "bert", deepspeed=str(settings), prompt={"length": 2},
        backbone_config={
            "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers
        },
        train={"global_batch": 2, "micro_batch": 1, "gradient_checkpointing": False},
    )  # fmt: skip
    ended = ranks.run(2, *ranks.worker(MEMORY_WORKER, recipe)).must_succeed()
    line = next(one for one in ended.outputs[0].splitlines() if one.startswith("FOUND"))
    peak = json.loads(line.removeprefix("FOUND"))["peak"]
    backbone = 4 * layers * 12 * width**2
    print("MEASURED", peak, backbone)
    assert peak < 0.3 * backbone
