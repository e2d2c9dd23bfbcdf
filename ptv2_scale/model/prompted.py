"""`PromptedModel`: a frozen backbone, a prefix and a task head as one plain `nn.Module`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ptv2_scale.backbones.attention import Prefix, Recorder, bind
from ptv2_scale.backbones.family import Family
from ptv2_scale.methods.prefix.encoder import PrefixEncoder, PrefixShape, slot_modules
from ptv2_scale.tasks.heads import Head


@dataclass(frozen=True)
class PromptSettings:
    """How a prefix acts, beside its values.

    Attributes:
        dropout: probability on its keys and values while training.
        shift_positions: count the prefix's tokens as positions in front of the text.
    """

    dropout: float = 0.0
    shift_positions: bool = True


class PromptedOutput(NamedTuple):
    """What a forward pass gives.

    Attributes:
        logits: what the head makes, [batch, labels] for classification.
        features: what the head read of the backbone, [batch, width].
    """

    logits: Tensor
    features: Tensor


class PromptedModel(nn.Module):
    """Runs with and without DeepSpeed; several may share one backbone object.

    Args:
        backbone: a transformers model without a task head, from `load_backbone`.
        family: its family.
        head: maps the last hidden state to logits; see `ptv2_scale.tasks.heads`.
        shape: the prefix's sizes; None trains the head alone.
        settings: how the prefix acts.
    """

    def __init__(
        self,
        backbone: Any,
        family: Family,
        head: Head,
        shape: PrefixShape | None,
        settings: PromptSettings,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.family = family
        self.prefix_encoder = None if shape is None else PrefixEncoder(shape)
        self.head = head
        self.settings = settings
        self.slots: Mapping[nn.Module, int] = (
            {} if shape is None else slot_modules(shape, family, backbone, backbone.config)
        )

    def trained(self) -> dict[str, nn.Parameter]:
        """Parameters that require a gradient, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def make_prefix(self, key_lengths: dict[nn.Module, list[int]] | None = None) -> Prefix | None:
        """The prefix for one forward pass; `key_lengths` collects what each slot then saw."""
        if self.prefix_encoder is None:
            return None
        dropout = self.settings.dropout if self.training else 0.0
        return Prefix(self.prefix_encoder(), self.slots, dropout, key_lengths)

    def forward(
        self, prefix: Prefix | Recorder | Literal["own"] | None = "own", **inputs: Tensor
    ) -> PromptedOutput:
        """Run a batch.

        Args:
            prefix: this model's own, another one of the same slots, None for none, or a recorder of
                the keys and values of the text itself.
            **inputs: input_ids and attention_mask [batch, n], and what else the backbone takes.
        """
        bound = self.make_prefix() if prefix == "own" else prefix
        with bind(bound):
            outputs = self.backbone(**self.backbone_inputs(bound, inputs))
        features = self.pool(outputs, inputs["attention_mask"])
        return PromptedOutput(self.head.forward_features(features), features)

    def pool(self, outputs: Any, mask: Tensor) -> Tensor:
        """The head's features [batch, width] of a backbone's outputs; `mask` is [batch, n]."""
        if self.family.encoder_decoder:
            mask = torch.ones_like(outputs.last_hidden_state[..., 0], dtype=mask.dtype)
        pooled = getattr(outputs, "pooler_output", None)
        return self.head.features(outputs.last_hidden_state, pooled, mask)

    def backbone_inputs(
        self, prefix: Prefix | Recorder | None, inputs: Mapping[str, Tensor]
    ) -> dict[str, Any]:
        """A batch with what the family adds to it: positions, decoder's start, options."""
        config = self.backbone.config
        made: dict[str, Any] = {**inputs, **self.family.forward_options}
        input_ids, mask = made["input_ids"], made["attention_mask"]
        length = prefix.keys_values.shape[3] if isinstance(prefix, Prefix) else 0
        shift = length if self.settings.shift_positions else 0
        positions = self.family.position_ids(mask, shift, config)
        if positions is not None:
            made["position_ids"] = positions
        if self.family.token_types:
            # BERT would look its default types up at the shifted positions.
            made.setdefault("token_type_ids", torch.zeros_like(input_ids))
        if self.family.encoder_decoder and "decoder_input_ids" not in made:
            start = config.decoder_start_token_id
            made["decoder_input_ids"] = input_ids.new_full((input_ids.shape[0], 1), start)
        return made
