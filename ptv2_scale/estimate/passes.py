"""One micro-batch forward and backward on the meta device: bytes, and the order of modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import _engine_run_backward
from torch.utils._pytree import tree_leaves

from ptv2_scale.data.collate import Batch, Example, Padding
from ptv2_scale.estimate.kernels import Device, DeviceKernels, KnownValues
from ptv2_scale.estimate.layers import apply_checkpointing, frozen_layers, on_meta
from ptv2_scale.estimate.live_bytes import LiveBytes
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.model.setup import Setup, build_model


@dataclass(frozen=True)
class ModuleUse:
    """A module that runs with parameters of its own.

    Attributes:
        parameters: their numbers among those of the model.
        backward: whether it is its backward pass, and not a forward pass or its repetition.
        layer: the frozen layer that it is in, by its place; None: it is in none.
    """

    parameters: tuple[int, ...]
    backward: bool
    layer: int | None = None


@dataclass(frozen=True)
class PassMemory:
    """What a micro-batch takes beside weights and gradients of parameters, in bytes.

    Attributes:
        method: what the method puts into the pass: keys and values of a prefix.
        training: the peak of forward and backward pass, `method` in it.
        evaluation: the peak of a forward pass over a batch of the evaluation.
        uses: modules with parameters, in the order in which they run.
    """

    method: int
    training: int
    evaluation: int
    uses: tuple[ModuleUse, ...]


def measure_pass(setup: Setup, device: Device) -> PassMemory:
    """What the passes of a recipe keep, for the sort of batch that keeps most.

    Args:
        setup: the recipe, opened; its longest text, micro-batches and checkpointing count.
        device: whose kernels run.

    Raises:
        UserError: see `build_model`.
    """
    examples = setup.task.longest(setup.config.task.longest)
    found = [_measure(setup, example, device) for example in examples]
    return max(found, key=lambda one: one.training)


# `measure_pass`, or what remembers what it has found.
Measure = Callable[[Setup, Device], PassMemory]


class MeasuredPasses:
    """`measure_pass`, once for each recipe: sharding changes what a rank keeps, and no pass."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, Device], PassMemory] = {}

    def __call__(self, setup: Setup, device: Device) -> PassMemory:
        """What the passes of a recipe keep; see `measure_pass`."""
        key = repr(setup.config.model_copy(update={"deepspeed": ""})), device
        if key not in self._found:
            self._found[key] = measure_pass(setup, device)
        return self._found[key]


def _measure(setup: Setup, example: Example, device: Device) -> PassMemory:
    setup = _attending_on(setup, device)
    model, train = on_meta(build_model(setup)), setup.config.train
    apply_checkpointing(setup, model)
    recorder = _Recorder(model)
    method, training = 0, 0
    if model.trained():
        with _counted(setup, model, [example] * train.examples, device) as (live, batch):
            method, training = _train(setup, model, batch, live, recorder)
    uses = tuple(recorder.uses)
    model.eval()
    rows = [example] * setup.config.evaluate.examples
    with _counted(setup, model, rows, device) as (live, batch), torch.no_grad():
        model(**batch.arguments)
    return PassMemory(method, training, live.peak, uses or tuple(recorder.uses))


def _attending_on(setup: Setup, device: Device) -> Setup:
    """A recipe whose attention is what a device has: on CPUs sdpa takes FlexAttention's place."""
    section = setup.config.backbone
    if device != "cpu" or section.attention != "flex":
        return setup
    backbone = section.model_copy(update={"attention": "sdpa"})
    return replace(setup, config=setup.config.model_copy(update={"backbone": backbone}))


def _train(
    setup: Setup, model: PromptedModel, batch: Batch, live: LiveBytes, recorder: _Recorder
) -> tuple[int, int]:
    model.train()
    for parameter in model.trained().values():
        parameter.register_post_accumulate_grad_hook(_drop_gradient)
    entry = model.entry()
    method = live.now
    outputs = model(entry=entry, **batch.arguments).outputs
    loss = setup.task.loss_sum(outputs, batch.targets)
    run_backward(loss)
    return method, live.peak


def run_backward(loss: Tensor) -> None:
    """`loss.backward()`, which would switch the kernels' mode off for what is computed anew."""
    start = (torch.ones_like(loss),)
    _engine_run_backward(
        (loss,), start, False, False, (), allow_unreachable=True, accumulate_grad=True
    )


def _drop_gradient(parameter: Tensor) -> None:
    """DeepSpeed moves each gradient into buffers of its own, which are counted by themselves."""
    parameter.grad = None


@contextmanager
def _counted(
    setup: Setup, model: PromptedModel, examples: Sequence[Example], device: Device
) -> Iterator[tuple[LiveBytes, Batch]]:
    batch = setup.task.collate(examples, Padding(0))
    values = KnownValues()
    batch = batch.moved(values.on_meta)
    live = LiveBytes([*model.parameters(), *model.buffers()])
    with DeviceKernels(device, values), live:
        yield live, batch
    live.close()


class _Recorder:
    """Notes which modules run.

    Args:
        model: on the meta device.
    """

    def __init__(self, model: PromptedModel) -> None:
        self.uses: list[ModuleUse] = []
        numbers = {id(one): number for number, one in enumerate(model.parameters())}
        layers = {
            module: place
            for place, layer in enumerate(frozen_layers(model))
            for module in layer.modules()
        }
        for module in model.modules():
            own = tuple(numbers[id(one)] for one in module.parameters(recurse=False))
            if own:
                forward = ModuleUse(own, backward=False, layer=layers.get(module))
                module.register_forward_pre_hook(partial(self._note, forward))
                backward = replace(forward, backward=True)
                module.register_forward_hook(partial(self._wait_for_backward, backward))

    def _note(self, use: ModuleUse, *_: Any) -> None:
        self.uses.append(use)

    def _wait_for_backward(self, use: ModuleUse, module: Any, given: Any, made: Any) -> None:
        waiting = [
            one for one in tree_leaves(made) if isinstance(one, Tensor) and one.requires_grad
        ]
        if waiting:
            # Of several outputs, the last one's gradient comes first.
            waiting[-1].register_hook(partial(self._note, use))
