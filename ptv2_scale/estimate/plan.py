"""What a recipe takes on some GPUs: memory, traffic and time, and what would make it fit."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ptv2_scale.config.deepspeed import AUTO
from ptv2_scale.estimate.checkpointing import with_fewest_layers
from ptv2_scale.estimate.fitting import Remedy, Reopen, Verdict, remedies, verdict
from ptv2_scale.estimate.memory import MemoryEstimate, estimate_memory
from ptv2_scale.estimate.micro_batch import largest_micro_batch, with_largest_micro_batches
from ptv2_scale.estimate.operations import count_operations
from ptv2_scale.estimate.passes import MeasuredPasses
from ptv2_scale.estimate.sharding import least_sharding, with_deepspeed
from ptv2_scale.estimate.step_time import GPUS, Rates, StepTime, estimate_time
from ptv2_scale.estimate.traffic import Traffic, estimate_traffic
from ptv2_scale.estimate.zero import Cluster
from ptv2_scale.model.setup import Setup
from ptv2_scale.runtime.errors import UserError


@dataclass(frozen=True)
class Gpus:
    """The GPUs of a plan; they need not be here.

    Attributes:
        ranks: hosts, and GPUs of each.
        memory: bytes of one.
        name: in `GPUS`; None: no time is estimated.
        compute: operations a second that one achieves; None: see `Rates.of`.
        across: bytes a second from a host to others; None: see `Rates.of`.
    """

    ranks: Cluster
    memory: int
    name: str | None = None
    compute: float | None = None
    across: float | None = None

    def rates(self, dtype: str) -> Rates | None:
        """What a step's time follows from; None: it is not known which GPUs these are."""
        if self.name is None:
            return None
        found = Rates.of(GPUS[self.name], dtype, self.ranks)
        return found.measured(self.compute, self.across)


@dataclass(frozen=True)
class Plan:
    """What a recipe takes.

    Attributes:
        gpus: where.
        setup: the recipe, opened, with its sharding, its micro-batches, and the layers that are
            computed again, written out.
        suggested: the configuration that `deepspeed: auto` takes; see `least_sharding`.
        suggested_batch: what `train.micro_batch: auto` is with the sharding of `setup`; see
            `largest_micro_batch`.
        memory: of a rank, and of a host.
        verdict: whether `memory` fits.
        remedies: what would make it fit, where it does not for certain.
        traffic: of a step; None: the batch cannot be divided among the ranks, see `undivided`.
        undivided: why it cannot; "": it can.
        time: of a step with the longest texts; None: it was not asked for, or there is no traffic.
    """

    gpus: Gpus
    setup: Setup
    suggested: str
    suggested_batch: int
    memory: MemoryEstimate
    verdict: Verdict
    remedies: list[Remedy]
    traffic: Traffic | None
    undivided: str
    time: StepTime | None


def make_plan(reopen: Reopen, gpus: Gpus) -> Plan:
    """Plan a recipe from shapes alone.

    Args:
        reopen: opens the recipe, with more key=value words.
        gpus: where it is to run.

    Raises:
        UserError: see `build_model` and `estimate_memory`.
    """
    ranks, measure, setup = gpus.ranks, MeasuredPasses(), reopen(())
    suggested = least_sharding(setup, ranks, "cuda", gpus.memory, measure)
    if setup.config.deepspeed == AUTO:
        setup = with_deepspeed(setup, suggested)
    batch = largest_micro_batch("train", setup, ranks, "cuda", gpus.memory, measure)
    setup = with_largest_micro_batches(setup, ranks, "cuda", gpus.memory, measure)
    setup = with_fewest_layers(setup, ranks, "cuda", gpus.memory, measure)
    passes = measure(setup, "cuda")
    memory = estimate_memory(setup, ranks, passes)
    found, ways = verdict(memory.total, gpus.memory), []
    if found != "fits":
        ways = remedies(_with_choices_of(setup, reopen), ranks, "cuda", gpus.memory, measure)
    traffic, undivided, time = None, "", None
    try:
        traffic = estimate_traffic(setup, ranks, passes)
    except UserError as error:
        undivided = str(error)
    rates = gpus.rates(setup.config.backbone.dtype)
    if traffic is not None and rates is not None:
        operations = count_operations(setup)
        time = estimate_time(setup.config, ranks, operations, traffic, memory, rates)
    return Plan(gpus, setup, suggested, batch, memory, found, ways, traffic, undivided, time)


def _with_choices_of(setup: Setup, reopen: Reopen) -> Reopen:
    """Opens the recipe with what was chosen for it, unless words say otherwise."""
    config, train = setup.config, setup.config.train
    chosen = (
        f"deepspeed={json.dumps(config.deepspeed)}",
        f"train.micro_batch={train.examples}",
        f"evaluate.micro_batch={config.evaluate.examples}",
        f"train.gradient_checkpointing={json.dumps(train.gradient_checkpointing)}",
    )
    return lambda words: reopen([*chosen, *words])
