"""`PromptedModel`: a frozen backbone, a method and a task head as one plain `nn.Module`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ptv2_scale.backbones.attention import train_position_bias
from ptv2_scale.backbones.family import Family
from ptv2_scale.methods.base import Adapter, Entry, Method, Wrapped
from ptv2_scale.tasks.heads import Head


class PromptedOutput(NamedTuple):
    """What a forward pass gives.

    Attributes:
        outputs: what the head makes, [batch, labels] for classification.
        features: what the head read of the backbone, [batch, width] for classification.
    """

    outputs: Tensor
    features: Tensor

    @property
    def logits(self) -> Tensor:
        """The outputs, by the name that transformers' models have for them."""
        return self.outputs


class PromptedModel(nn.Module):
    """Runs with and without DeepSpeed; several may share one backbone object.

    Args:
        backbone: a transformers model without a task head, from `load_backbone`.
        family: its family.
        head: maps the last hidden state to outputs; see `ptv2_scale.tasks.heads`.
        method: what is trained beside the head.
    """

    def __init__(self, backbone: Any, family: Family, head: Head, method: Method) -> None:
        super().__init__()
        self.backbone = backbone
        self.family, self.method = family, method
        adapter = method.adapter(backbone)
        if adapter is not None:
            self.add_module(method.ADAPTER, adapter)
        self.head = head
        trained = {n: p for n, p in backbone.named_parameters() if method.trains(n)}
        for parameter in trained.values():
            parameter.requires_grad_(True)
        if any("relative_attention_bias" in name for name in trained):
            train_position_bias(backbone)

    @property
    def adapter(self) -> Adapter | None:
        """The method's own parameters; None: it has none."""
        found: Adapter | None = self._modules.get(self.method.ADAPTER)  # type: ignore[assignment]
        return found

    def trained(self) -> dict[str, nn.Parameter]:
        """Parameters that require a gradient, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def entry(self) -> Entry:
        """What the method puts into one forward pass."""
        return Entry() if self.adapter is None else self.adapter.entry()

    def forward(
        self, entry: Entry | Literal["own"] | None = "own", **inputs: Tensor
    ) -> PromptedOutput:
        """Run a batch.

        Args:
            entry: this model's own, another one for the same backbone, or None for the backbone
                without the method.
            **inputs: input_ids and attention_mask [batch, n], and what else the family takes; the
                rest of what a tokenizer gives is dropped.
        """
        if entry is None:
            entry = Entry()
        elif isinstance(entry, str):
            entry = self.entry()
        wrapped = self.backbone_inputs(entry, inputs)
        with entry.bind():
            outputs = self.backbone(**wrapped.inputs)
        features = self.pool(outputs, wrapped.text)
        return PromptedOutput(self.head.forward_features(features), features)

    def pool(self, outputs: Any, mask: Tensor) -> Tensor:
        """The head's features of a backbone's outputs; `mask` [batch, columns] is 1 for text."""
        if self.family.encoder_decoder:
            mask = torch.ones_like(outputs.last_hidden_state[..., 0], dtype=mask.dtype)
        pooled = getattr(outputs, "pooler_output", None)
        return self.head.features(outputs.last_hidden_state, pooled, mask)

    def backbone_inputs(self, entry: Entry, inputs: Mapping[str, Tensor]) -> Wrapped:
        """A batch with what entry and family add: positions, the decoder's start, options."""
        config = self.backbone.config
        taken = self.family.inputs(config)
        given = {name: value for name, value in inputs.items() if name in taken}
        made, text = entry.wrap({**given, **self.family.forward_options}, self.backbone)
        mask = made["attention_mask"]
        positions = self.family.position_ids(mask, entry.shift, config)
        if positions is not None:
            made["position_ids"] = positions
        if self.family.token_types:
            # The model would look its default types up at the shifted positions.
            made.setdefault("token_type_ids", torch.zeros_like(mask))
        if self.family.encoder_decoder and "decoder_input_ids" not in made:
            start = self.family.decoder_start(config)
            made["decoder_input_ids"] = mask.new_full((mask.shape[0], 1), start)
        return Wrapped(made, text)
