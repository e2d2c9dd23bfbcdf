"""Classic GLM (Du et al., ACL 2022): pre-LN blocks, 2-D learned positions, tied projection.

Written in the manner of transformers' own models, so that its attention goes through the attention
interface and its layers through gradient checkpointing. Parameters have their published names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import ModelOutput

from ptv2_scale.backbones.glm_classic.configuration import ClassicGlmConfig
from ptv2_scale.backbones.glm_classic.masks import additive_mask
from ptv2_scale.runtime.errors import UserError


@dataclass
class ClassicGlmOutput(ModelOutput):  # type: ignore[misc]
    """What a forward pass gives.

    Attributes:
        last_hidden_state: [batch, tokens, hidden_size], behind the final layer norm.
        logits: [batch, tokens, vocab_size], or None where they were not asked for.
        past_key_values: keys and values of all tokens so far, where a cache is in use.
    """

    last_hidden_state: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Cache | None = None


def eager_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """Attention written out, for `attn_implementation="eager"`; shapes as in the interface."""
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    mixed = functional.dropout(weights, dropout) @ value
    return mixed.transpose(1, 2).contiguous(), weights


class ClassicGlmAttention(nn.Module):
    """Self-attention with one projection that is cut into thirds: queries, keys, values."""

    # Without a mask all tokens see each other; a mask says by itself what is causal.
    is_causal = False

    def __init__(self, config: ClassicGlmConfig, layer: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.config = config
        self.layer_idx = layer
        self.head_dim = width // config.num_attention_heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.dense = nn.Linear(width, width)
        self.output_dropout = nn.Dropout(config.output_dropout_prob)

    def forward(self, states: Tensor, mask: Tensor | None, cache: Cache | None) -> Tensor:
        """States [batch, tokens, width] and an additive mask -> [batch, tokens, width]."""
        thirds = self.query_key_value(states).chunk(3, dim=-1)
        query, key, value = (
            third.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for third in thirds
        )
        if cache is not None:
            key, value = cache.update(key, value, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention
        )
        dropout = self.config.attention_dropout_prob if self.training else 0.0
        mixed, _ = attend(
            self, query, key, value, mask, scaling=self.head_dim**-0.5, dropout=dropout
        )
        attended: Tensor = self.output_dropout(self.dense(mixed.flatten(2)))
        return attended


class ClassicGlmMLP(nn.Module):
    """Two linear layers around a GELU."""

    def __init__(self, config: ClassicGlmConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.dense_h_to_4h = nn.Linear(width, 4 * width)
        self.activation = ACT2FN[config.hidden_act]
        self.dense_4h_to_h = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(config.output_dropout_prob)

    def forward(self, states: Tensor) -> Tensor:
        """[batch, tokens, width] -> the same shape."""
        made: Tensor = self.dropout(self.dense_4h_to_h(self.activation(self.dense_h_to_4h(states))))
        return made


class ClassicGlmLayer(GradientCheckpointingLayer):  # type: ignore[misc]
    """One block: attention and MLP, each behind a layer norm and added to what came in."""

    def __init__(self, config: ClassicGlmConfig, layer: int) -> None:
        super().__init__()
        width, epsilon = config.hidden_size, config.layernorm_epsilon
        self.input_layernorm = nn.LayerNorm(width, eps=epsilon)
        self.attention = ClassicGlmAttention(config, layer)
        self.post_attention_layernorm = nn.LayerNorm(width, eps=epsilon)
        self.mlp = ClassicGlmMLP(config)

    def forward(
        self, states: Tensor, mask: Tensor | None, past_key_values: Cache | None = None
    ) -> Tensor:
        """[batch, tokens, width] -> the same shape."""
        states = states + self.attention(self.input_layernorm(states), mask, past_key_values)
        made: Tensor = states + self.mlp(self.post_attention_layernorm(states))
        return made


class ClassicGlmStack(nn.Module):
    """Both position tables and the layers; published checkpoints call it `transformer`."""

    def __init__(self, config: ClassicGlmConfig) -> None:
        super().__init__()
        rows, width = config.max_sequence_length + 1, config.hidden_size
        self.position_embeddings = nn.Embedding(rows, width)
        self.block_position_embeddings = nn.Embedding(rows, width)
        self.embedding_dropout = nn.Dropout(config.embedding_dropout_prob)
        self.layers = nn.ModuleList(
            ClassicGlmLayer(config, layer) for layer in range(config.num_layers)
        )
        self.final_layernorm = nn.LayerNorm(width, eps=config.layernorm_epsilon)

    def forward(
        self, embedded: Tensor, position_ids: Tensor, mask: Tensor | None, cache: Cache | None
    ) -> Tensor:
        """Embedded tokens [batch, tokens, width] -> last hidden state of the same shape."""
        positions = self.position_embeddings(position_ids[:, 0])
        blocks = self.block_position_embeddings(position_ids[:, 1])
        states = self.embedding_dropout(embedded + positions + blocks)
        for layer in self.layers:
            states = layer(states, mask, past_key_values=cache)
        normed: Tensor = self.final_layernorm(states)
        return normed


class TiedEmbedding(nn.Embedding):
    """Word embeddings that are the projection to the vocabulary, too.

    Both ways of use are calls of the module that owns the weight: ZeRO-3 gathers a weight when its
    module is called, and one that is read from outside may be found empty.
    """

    def forward(self, given: Tensor, project: bool = False) -> Tensor:
        """Ids [batch, tokens] -> [batch, tokens, width]; with `project`, that -> logits."""
        return functional.linear(given, self.weight) if project else super().forward(given)


class ClassicGlm(PreTrainedModel):  # type: ignore[misc]
    """The model without a task head; its projection to the vocabulary has no weights of its own."""

    config_class = ClassicGlmConfig
    base_model_prefix = "glm"
    supports_gradient_checkpointing = True
    _no_split_modules = ("ClassicGlmLayer",)
    _input_embed_layer = "word_embeddings"
    _supports_sdpa = True
    _supports_attention_backend = True

    def __init__(self, config: ClassicGlmConfig) -> None:
        super().__init__(config)
        self.word_embeddings = TiedEmbedding(config.vocab_size, config.hidden_size)
        self.transformer = ClassicGlmStack(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        output_predict: bool | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> ClassicGlmOutput:
        """Run a batch.

        Args:
            input_ids: [batch, tokens].
            position_ids: [batch or 1, 2, tokens], positions and block positions; None: positions
                count on from the cached tokens, block positions are 0.
            attention_mask: a separator [batch], a padding mask [batch, keys] or a full mask
                [batch, 1, tokens, keys]; see `additive_mask`. None: all tokens see each other.
            past_key_values: cache of earlier tokens, to which these are added.
            use_cache: start a cache where none is given.
            output_predict: make logits; None: as the configuration says.
            inputs_embeds: word embeddings [batch, tokens, width] in place of `input_ids`.

        Raises:
            UserError: a mask of a shape that does not fit; more tokens than positions; both or
                neither of ids and embeddings.
        """
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        past = 0 if past_key_values is None else past_key_values.get_seq_length()
        if (input_ids is None) == (inputs_embeds is None):
            raise UserError("input_ids and inputs_embeds: give one of the two.")
        embedded = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if position_ids is None:
            position_ids = self._text_positions(past, embedded)
        mask = None
        if attention_mask is not None:
            mask = additive_mask(attention_mask, embedded, past)
        hidden = self.transformer(embedded, position_ids, mask, past_key_values)
        if output_predict is None:
            output_predict = self.config.output_predict
        logits = self.word_embeddings(hidden, project=True) if output_predict else None
        return ClassicGlmOutput(hidden, logits, past_key_values)

    def _text_positions(self, past: int, embedded: Tensor) -> Tensor:
        room, end = self.config.max_sequence_length, past + embedded.shape[1]
        if end > room:
            raise UserError(
                f"input_ids: {end} tokens are longer than this model's {room} positions. Shorten"
                " the text, or give position_ids."
            )
        positions = torch.arange(past, end, device=embedded.device)
        return torch.stack((positions, torch.zeros_like(positions)))[None]
