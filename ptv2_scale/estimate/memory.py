"""Memory of a recipe on some ranks, from shapes alone."""

from __future__ import annotations

from dataclasses import dataclass

from ptv2_scale.backbones.dtypes import DTYPES
from ptv2_scale.estimate.gathers import most_gathered
from ptv2_scale.estimate.passes import PassMemory
from ptv2_scale.estimate.zero import (
    Cluster,
    TrainedState,
    ZeroSettings,
    persistent_parameters,
    shard_elements,
    trained_state,
)
from ptv2_scale.model.setup import Setup, build_model

# What takes memory too, and is not in the numbers.
NOT_COUNTED = (
    "the GPU's context and libraries",
    "buffers of NCCL or gloo",
    "workspaces of kernels",
    "what the allocator loses between blocks",
    "writing texts with a cache",
    "on a CPU the interpreter with its libraries",
)


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on the device of one rank, the fullest at each moment, and on each host.

    Attributes:
        weights: the rank's slices of all parameters, or all of them where they are not sharded.
        second_copy: hpZ's, shared inside a host.
        masters: fp32 values of trained parameters.
        moments: AdamW's two.
        gradients: summed over micro-steps.
        gathered: weights that ZeRO-3 has gathered at once, and those that stay whole.
        buckets: gradients on their way between ranks.
        method: what the method puts into a pass: a prefix's keys and values.
        activations: what a micro-batch keeps and makes, the peak of forward and backward pass.
        evaluation: the peak of a forward pass over a batch of the evaluation.
        update: what only the optimizer's step makes.
        host: of one host's memory, all its ranks together: what is offloaded, and one parameter
            a rank while weights are loaded.
    """

    weights: int
    second_copy: int
    masters: int
    moments: int
    gradients: int
    gathered: int
    buckets: int
    method: int
    activations: int
    evaluation: int
    update: int
    host: int

    @property
    def resident(self) -> int:
        """What is there all the time."""
        return self.weights + self.second_copy + self.masters + self.moments + self.gradients

    @property
    def training(self) -> int:
        """The peak of a training step's forward and backward pass, without `resident`."""
        return self.gathered + self.buckets + self.method + self.activations

    @property
    def total(self) -> int:
        """The peak on the device of one rank."""
        evaluating = self.gathered + self.evaluation
        return self.resident + max(self.training, evaluating, self.update)


def estimate_memory(setup: Setup, ranks: Cluster, passes: PassMemory) -> MemoryEstimate:
    """Memory of a recipe on some ranks.

    Args:
        setup: the recipe, opened.
        ranks: hosts and ranks on each.
        passes: what its passes keep; see `measure_pass`.

    Raises:
        UserError: its DeepSpeed configuration cannot work on these ranks.
    """
    parameters = list(build_model(setup).parameters())
    zero = ZeroSettings.of(setup.config, ranks)
    width = DTYPES[setup.config.backbone.dtype].itemsize
    sizes = [one.numel() for one in parameters]
    weights = width * (shard_elements(sizes, ranks.world) if zero.stage == 3 else sum(sizes))
    trained = [one.numel() for one in parameters if one.requires_grad]
    state = trained_state(trained, zero, ranks.world, width)
    offloaded = _offloaded(zero, weights, state)
    return MemoryEstimate(
        weights=0 if zero.weights_on != "none" else weights,
        second_copy=_second_copy(zero, sizes, width),
        masters=0 if zero.optimizer_on_cpu else state.masters,
        moments=0 if zero.optimizer_on_cpu else state.moments,
        gradients=0 if zero.optimizer_on_cpu else state.gradients,
        gathered=width * _gathered(zero, sizes, passes),
        buckets=state.buckets,
        method=passes.method,
        activations=passes.training - passes.method,
        evaluation=passes.evaluation,
        update=0 if zero.optimizer_on_cpu else state.update,
        host=ranks.per_host * (offloaded + width * max(sizes)),
    )


def _gathered(zero: ZeroSettings, sizes: list[int], passes: PassMemory) -> int:
    if zero.stage < 3:
        return 0
    persistent = persistent_parameters(sizes, zero)
    return most_gathered(passes.uses, sizes, persistent, zero)


def _second_copy(zero: ZeroSettings, sizes: list[int], width: int) -> int:
    return width * shard_elements(sizes, zero.second_copy) if zero.second_copy > 1 else 0


def _offloaded(zero: ZeroSettings, weights: int, state: TrainedState) -> int:
    """Bytes of a rank on its host."""
    found = weights if zero.weights_on == "cpu" else 0
    if zero.optimizer_on_cpu:
        found += state.masters + state.moments + state.gradients
    return found
