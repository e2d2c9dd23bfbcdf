"""Time of an optimizer step, from its operations and its traffic; not measured on any GPU yet.

Peaks are those of NVIDIA's data sheets, without sparsity: A100 80GB SXM (2021), H100 SXM (2023),
H200 SXM (2024), one direction of NVLink, and the network adapters of DGX A100, H100 and H200.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ptv2_scale.config import RunConfig
from ptv2_scale.data.dealing import micro_steps_of
from ptv2_scale.estimate.memory import MemoryEstimate
from ptv2_scale.estimate.operations import Operations
from ptv2_scale.estimate.traffic import Traffic
from ptv2_scale.estimate.zero import Cluster

# Of the peak: 402 of 989 TFLOP/s were measured by NeMo Automodel, Llama 3 8B with LoRA on one H100.
ACHIEVED = 0.4
_HOUR = 3600


@dataclass(frozen=True)
class Gpu:
    """What a GPU can do; operations and bytes a second.

    Attributes:
        memory: bytes.
        bf16: operations in bf16.
        fp32: operations in fp32.
        memory_rate: bytes of its own memory.
        link: bytes to another GPU of its host, one way.
        network: bytes to other hosts, of all adapters of a host for each of its GPUs.
        host_link: bytes from its host's memory.
    """

    memory: int
    bf16: float
    fp32: float
    memory_rate: float
    link: float
    network: float
    host_link: float


GPUS = {
    "A100": Gpu(80 * 10**9, 312e12, 19.5e12, 2.039e12, 300e9, 25e9, 32e9),
    "H100": Gpu(80 * 10**9, 989e12, 67e12, 3.35e12, 450e9, 50e9, 64e9),
    "H200": Gpu(141 * 10**9, 989e12, 67e12, 4.8e12, 450e9, 50e9, 64e9),
}


@dataclass(frozen=True)
class Rates:
    """What a step's time follows from.

    Attributes:
        gpu: each rank's.
        compute: operations a second that a rank achieves.
        across: bytes a second from a host to others.
    """

    gpu: Gpu
    compute: float
    across: float

    @classmethod
    def of(cls, gpu: Gpu, dtype: str, ranks: Cluster) -> Rates:
        """Those of a GPU, at the share of its peak that is usually achieved."""
        peak = gpu.bf16 if dtype == "bf16" else gpu.fp32
        return cls(gpu, ACHIEVED * peak, gpu.network * ranks.per_host)

    def measured(self, compute: float | None, across: float | None) -> Rates:
        """The same with what a user has measured."""
        return replace(self, compute=compute or self.compute, across=across or self.across)


@dataclass(frozen=True)
class StepTime:
    """Seconds of an optimizer step, and what it makes.

    Attributes:
        compute: of forward and backward passes.
        gathers: of gathering weights, or copying them from the host; done beside the computation.
        gradients: of gradients and new values, after it.
        optimizer: of the optimizer, which reads and writes its state.
        tokens: of the texts of a step, on all ranks together, the longest that the recipe allows.
    """

    compute: float
    gathers: float
    gradients: float
    optimizer: float
    tokens: int

    @property
    def seconds(self) -> float:
        """Of the step: gathering is hidden behind the computation, or the other way round."""
        return max(self.compute, self.gathers) + self.gradients + self.optimizer

    @property
    def tokens_a_second(self) -> float:
        """Of all ranks together."""
        return self.tokens / self.seconds

    def hours(self, steps: int) -> float:
        """Of so many steps, without evaluations and checkpoints."""
        return steps * self.seconds / _HOUR


def estimate_time(
    config: RunConfig,
    ranks: Cluster,
    operations: Operations,
    traffic: Traffic,
    memory: MemoryEstimate,
    rates: Rates,
) -> StepTime:
    """Time of an optimizer step of a recipe on some ranks.

    Args:
        config: the recipe.
        ranks: hosts and ranks on each.
        operations: of a micro-batch.
        traffic: of a step.
        memory: of a rank.
        rates: what the ranks achieve.

    Raises:
        UserError: its batch cannot be divided among the ranks.
    """
    train, gpu = config.train, rates.gpu
    micro_steps = micro_steps_of(train, ranks.world)
    # What crosses hosts is gathered weights first; the rest of it comes after the computation.
    last = traffic.gradients + traffic.updates
    last_across = min(last, traffic.across)
    gathers = max(
        traffic.gathers / gpu.link,
        (traffic.across - last_across) / rates.across,
        traffic.from_host / gpu.host_link,
    )
    state = memory.masters + memory.moments + memory.gradients
    return StepTime(
        compute=micro_steps * operations.made / rates.compute,
        gathers=gathers,
        gradients=max(last / gpu.link, last_across / rates.across),
        optimizer=2 * state / gpu.memory_rate,  # read and written
        tokens=micro_steps * ranks.world * operations.tokens,
    )
