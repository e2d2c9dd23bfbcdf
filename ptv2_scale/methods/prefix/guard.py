"""Checks on one batch, before training, that the prefix is really used.

Architectures change with every release of transformers, and a prefix that is silently dropped
trains nothing while the head still learns: the run would look alive.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from ptv2_scale.backbones.attention import BoundPrefix
from ptv2_scale.backbones.attention_routes import IMPLEMENTATIONS
from ptv2_scale.methods.base import Inputs, RunModel
from ptv2_scale.methods.guard import MethodUnusedError, check_effect, check_finite, weighted_sum
from ptv2_scale.methods.prefix.encoder import PrefixEncoder, PrefixEntry


def check_prefix(run: RunModel, model: Any, inputs: Inputs) -> None:
    """Prove on one batch that every prompted module got its prefix and passes a gradient to it.

    Args:
        run: calls the model (DeepSpeed's engine, or the model itself); every rank must call it
            with a batch of the same shape.
        model: the `PromptedModel`.
        inputs: a batch without labels.

    Raises:
        MethodUnusedError: says which check failed, and for which slots.
    """
    _check_implementation(model)
    training = model.training
    model.train()
    lengths: dict[nn.Module, list[int]] = {}
    entry = _encoder(model).entry(lengths, opened=1.0)
    prefix = entry.bound
    assert isinstance(prefix, BoundPrefix)
    outputs = run(entry=entry, **inputs).outputs
    _check_calls(model, prefix, lengths, inputs)
    _check_gradient(model, prefix, outputs)
    model.eval()
    check_effect(run, inputs, "prefix", **_opened(model))
    with torch.no_grad():
        _check_cache_route(run, model, inputs)
    model.train(training)


def _encoder(model: Any) -> PrefixEncoder:
    encoder = model.adapter
    assert isinstance(encoder, PrefixEncoder)
    return encoder


def _opened(model: Any) -> dict[str, Any]:
    """The entry that lets a gated prefix through, which the model's own does not at first."""
    encoder = _encoder(model)
    if not encoder.shape.gates:
        return {}
    with torch.no_grad():
        return {"entry": encoder.entry(opened=1.0)}


def _names(model: Any, modules: set[nn.Module]) -> str:
    found = [name for name, module in model.backbone.named_modules() if module in modules]
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def _check_implementation(model: Any) -> None:
    used = model.backbone.config._attn_implementation
    if used not in IMPLEMENTATIONS.values():
        ours = " or ".join(f"'{name}'" for name in IMPLEMENTATIONS.values())
        raise MethodUnusedError(f"the backbone attends by '{used}' instead of {ours}.")


def _check_calls(
    model: Any,
    prefix: BoundPrefix,
    lengths: dict[nn.Module, list[int]],
    inputs: Inputs,
) -> None:
    # Recomputation under checkpointing has not run yet, so one forward pass is one call.
    wrong = {module for module in prefix.slots if len(lengths.get(module, [])) != 1}
    if wrong:
        raise MethodUnusedError(f"not called exactly once: {_names(model, wrong)}.")
    length = prefix.keys_values.shape[3]
    own = {inputs["input_ids"].shape[1], _decoder_length(inputs)}
    short = {module for module, seen in lengths.items() if seen[0] - length not in own}
    if short:
        raise MethodUnusedError(f"keys are not longer by {length}: {_names(model, short)}.")


def _decoder_length(inputs: Inputs) -> int:
    decoder = inputs.get("decoder_input_ids")
    return 1 if decoder is None else int(decoder.shape[1])


def _check_gradient(model: Any, prefix: BoundPrefix, outputs: Tensor) -> None:
    # Through the prefix's values alone: the parameters' own gradients belong to DeepSpeed.
    trained = [prefix.keys_values, *(() if prefix.gates is None else (prefix.gates,))]
    gradient, *of_gates = torch.autograd.grad(weighted_sum(outputs), trained)
    for one in of_gates:
        gradient = torch.cat((gradient.flatten(1), one.float()), dim=1)
    strength = gradient.float().flatten(1).norm(dim=1).cpu()
    rows = {row for row, value in enumerate(strength.tolist()) if not value > 0}
    silent = {module for module, row in prefix.slots.items() if row in rows}
    if silent:
        raise MethodUnusedError(f"no gradient reaches the prefix of {_names(model, silent)}.")
    check_finite(strength, "prefix")


def cache_inputs(model: Any, entry: PrefixEntry, inputs: Inputs) -> Inputs:
    """The same prefix as a key/value cache of transformers: an independent way in.

    Only for backbones whose forward takes `past_key_values` and whose every layer is prompted.
    """
    prefix = entry.bound
    assert isinstance(prefix, BoundPrefix)
    batch = inputs["input_ids"].shape[0]
    cache = DynamicCache()
    for row in range(prefix.keys_values.shape[0]):
        key, value = prefix.keys_values[row].unsqueeze(1).expand(-1, batch, -1, -1, -1)
        cache.update(key.contiguous(), value.contiguous(), row)
    made = model.backbone_inputs(entry, inputs, inputs.get("part")).inputs
    own = made["attention_mask"]  # [batch, n], or a classic GLM's of pieces [batch, 1, n, n]
    seen = own.new_ones(*own.shape[:-1], prefix.keys_values.shape[3])
    mask = torch.cat((seen, own), dim=-1)
    return {**made, "attention_mask": mask, "past_key_values": cache}


def _check_cache_route(run: RunModel, model: Any, inputs: Inputs) -> None:
    if not _has_cache_route(model, inputs["input_ids"].shape[1]):
        return
    entry = _encoder(model).entry()
    ours = _of_texts(run(entry=entry, **inputs).features, inputs)
    outputs = model.backbone(**cache_inputs(model, entry, inputs))
    theirs = _of_texts(model.read(outputs, inputs, part=inputs.get("part")).features, inputs)
    difference = float((ours - theirs).abs().max() / theirs.abs().max())
    # Both routes make the same sums; bf16 may round them in another order.
    if difference > (1e-4 if model.backbone.dtype == torch.float32 else 5e-2):
        raise MethodUnusedError(
            f"transformers' own key/value route disagrees by {difference:.1e} of the largest value."
        )


def _of_texts(features: Tensor, inputs: Inputs) -> Tensor:
    """Features [batch, ..., width] without those of padding, which differ from route to route."""
    if features.dim() < 3:
        return features.float()
    lengths = inputs["attention_mask"].sum(dim=1, keepdim=True)
    columns = torch.arange(features.shape[1], device=features.device)
    return features[columns < lengths].float()


def _has_cache_route(model: Any, columns: int) -> bool:
    """Whether transformers' key/value route is there, and means the same: a sliding window counts
    a cache among the text, and then hides the prefix."""
    config, shape = model.backbone.config, _encoder(model).shape
    window = model.family.window(config)
    return (
        not model.family.encoder_decoder
        and not shape.gates
        and len(shape.slots) == config.num_hidden_layers
        and "past_key_values" in inspect.signature(model.backbone.forward).parameters
        and (window is None or shape.length + columns <= window)
    )
