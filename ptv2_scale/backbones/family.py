"""What one architecture needs to say of itself to be prompted: a `Family`, declared as data.

A new architecture is one more file in `backbones/families/` that makes a `Family`; it needs no code
elsewhere as long as its attention modules dispatch through transformers' `AttentionInterface`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

# Modules of a checkpoint that stand on the backbone, by their names there.
TASK_HEADS = ("lm_head", "score", "classifier", "qa_outputs", "v_head")
Config = Any  # transformers' PreTrainedConfig, whose attributes differ by architecture
SlotName = Literal["encoder", "decoder", "cross"]


@dataclass(frozen=True)
class Stack:
    """Attention modules of one kind, a module per layer.

    Attributes:
        slot: what a recipe calls this kind.
        path: dotted path from the backbone to the module, `{}` standing for the layer's number.
        layers: number of layers, from the configuration.
    """

    slot: SlotName
    path: str
    layers: Callable[[Config], int] = lambda config: int(config.num_hidden_layers)


@dataclass(frozen=True)
class VocabularyHead:
    """A family's head over the vocabulary: its tensors in a checkpoint, and its arithmetic.

    Attributes:
        projection: names of the tensor [vocabulary, width]; where a checkpoint has none of them,
            the word embeddings are it, if `tied`.
        bias: names of the bias [vocabulary]; none: there is no bias.
        dense, norm: stems of a layer and a layer norm in front, an activation between them; None:
            the hidden state is projected as it is.
        activation, epsilon: of that layer and that norm.
        tied: whether the word embeddings may be the projection.
        scale: factor of the hidden state.
        cap: what soft-capped logits stay below (Gemma 2); None: they are as they are.
        blank: where the word is read that fills a blank: "mask" (the state of a mask token), "last"
            (that of the text's last token), "sentinel" (the decoder's, behind the sentinel that
            stands for the blank), "piece" (that of a token which begins a piece of its own).
        refusal: why words cannot be read from this family here, or None.
    """

    projection: tuple[str, ...] = ("lm_head.weight",)
    bias: tuple[str, ...] = ()
    dense: str | None = None
    norm: str | None = None
    activation: Callable[[Config], str] = lambda config: "gelu"
    epsilon: Callable[[Config], float] = lambda config: float(config.layer_norm_eps)
    tied: Callable[[Config], bool] = lambda config: bool(config.tie_word_embeddings)
    scale: Callable[[Config], float] = lambda config: 1.0
    cap: Callable[[Config], float | None] = lambda config: None
    blank: Literal["mask", "last", "sentinel", "piece"] = "last"
    refusal: str | None = None


def grouped_heads(config: Config) -> int:
    """Key/value heads: fewer than query heads under grouped-query attention."""
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)


def head_width(config: Config) -> int:
    """Width of one head, from `head_dim` where the configuration has it."""
    head_dim = getattr(config, "head_dim", None)
    return int(head_dim or config.hidden_size // config.num_attention_heads)


def nothing_refused(config: Config) -> str | None:
    """Most architectures have no setting that keeps a prefix from working."""
    return None


def contradiction(config: Config, second_names: Mapping[str, str]) -> str | None:
    """Why a configuration is refused that gives one setting two values, or None.

    Args:
        config: the configuration.
        second_names: second name of a setting, which is not read -> the name that is.
    """
    for second, read in second_names.items():
        found, used = getattr(config, second, None), getattr(config, read)
        if found not in (None, used):
            return f"{second} is {found!r:.40} and {read} is {used!r:.40}, which are one setting"
    return None


@dataclass(frozen=True)
class Family:
    """The facts of one architecture.

    Attributes:
        name: the family's name in messages.
        model_types: values of `model_type` in config.json that belong to it.
        stacks: where the prompted attention modules are, in the order of the exported layout.
        positions: "none" (relative bias, nothing shifts), "table" (learned, prefix and text share
            it), "rotary" (shifted, no table to run out of) or "blocks" (learned positions and block
            positions, for the text alone: nothing shifts, and a prefix takes no room).
        default_head: the task head where the recipe names none.
        hf_head: which of transformers' classification heads `head: hf` mirrors; None: no such one.
        pool: the token whose state a linear head reads.
        text_style: "pair" (the tokenizer joins two texts) or "named" ("premise: ... ").
        dropout_keys: configuration keys that `backbone.dropout` sets.
        token_types: the model has a table of token types, by which it tells two texts apart.
        token_types_optional: a configuration may say that there is no such table.
        disentangled: attention adds scores of relative positions that queries and keys give.
        pooler: the model can be built with and without a pooler, as its weights have one or not.
        task_heads: modules of a checkpoint that stand on the backbone and are left out.
        buffers: patterns of tensors of older checkpoints that the model computes by itself.
        extra_keys: keys of published config.json files that transformers reads under other names,
            or that change nothing.
        vocabulary: the head over the vocabulary, which its checkpoints may hold.
        decoder_start: the token that a decoder starts from; None: there is no decoder of its own.
        forward_options: what the model's forward is told where a task head follows.
        position_offset: added to every position id of a text (RoBERTa counts from padding_idx + 1).
        position_table: rows of the learned table of positions; None: this configuration has none.
        kv_heads, head_dim, width: key/value heads, width of a head, width of the last hidden state.
        input_width: width of an input embedding; None: that of the last hidden state.
        prepare: called with the model as built, before it has values: makes its attention take a
            prefix where transformers does not dispatch it.
        no_peft: why PEFT's PREFIX_TUNING cannot express a prefix of this family, or None.
        refuse: a reason why this configuration cannot be prompted, or None.
    """

    name: str
    model_types: tuple[str, ...]
    stacks: tuple[Stack, ...]
    positions: Literal["none", "table", "rotary", "blocks"]
    default_head: Literal["linear", "hf"] = "linear"
    hf_head: Literal["bert", "roberta", "score"] | None = "score"
    pool: Literal["first", "last"] = "last"
    text_style: Literal["pair", "named"] = "named"
    dropout_keys: tuple[str, ...] = ("attention_dropout",)
    token_types: bool = False
    token_types_optional: bool = False
    encoder_decoder: bool = False
    disentangled: bool = False
    pooler: bool = False
    task_heads: tuple[str, ...] = TASK_HEADS
    buffers: tuple[str, ...] = ()
    extra_keys: tuple[str, ...] = ()
    vocabulary: VocabularyHead = VocabularyHead()
    forward_options: Mapping[str, object] = field(default_factory=dict)
    position_offset: Callable[[Config], int] = lambda config: 0
    position_table: Callable[[Config], int | None] = lambda config: int(
        config.max_position_embeddings
    )
    decoder_start: Callable[[Config], int | None] = lambda config: None
    kv_heads: Callable[[Config], int] = grouped_heads
    head_dim: Callable[[Config], int] = head_width
    width: Callable[[Config], int] = lambda config: int(config.hidden_size)
    input_width: Callable[[Config], int | None] = lambda config: None
    prepare: Callable[[Any], None] = lambda backbone: None
    no_peft: str | None = None
    refuse: Callable[[Config], str | None] = nothing_refused

    def inputs(self, config: Config) -> frozenset[str]:
        """What the model takes of a tokenizer, or of a caller; all else is dropped or made here."""
        taken = {"input_ids", "attention_mask"}
        if self.token_type_rows(config) > 1:
            taken.add("token_type_ids")
        if self.encoder_decoder:
            taken |= {"decoder_input_ids", "decoder_attention_mask"}
        if self.positions == "blocks":
            taken.add("position_ids")  # of pieces, which no mask tells from their text
        return frozenset(taken)

    def tables(self, config: Config) -> dict[str, int]:
        """Rows of the table in which the model looks up each input that a tokenizer gives."""
        rows = {"input_ids": int(config.vocab_size), "token_type_ids": self.token_type_rows(config)}
        return {name: count for name, count in rows.items() if name in self.inputs(config)}

    def token_type_rows(self, config: Config) -> int:
        """Rows of the table of token types; with one of them all tokens are of the same type."""
        return int(config.type_vocab_size) if self.token_types else 0

    def embedding_width(self, config: Config) -> int:
        """Width of an input embedding."""
        return self.input_width(config) or self.width(config)

    @property
    def shifts(self) -> bool:
        """Whether a prefix in front can move the positions of a text."""
        return self.positions in ("table", "rotary")

    def position_room(self, config: Config) -> int | None:
        """Tokens that fit the learned position table; None: there is no table.

        A prefix counts among them where positions shift.
        """
        if self.positions not in ("table", "blocks"):
            return None
        rows = self.position_table(config)
        return None if rows is None else rows - self.position_offset(config)

    def window(self, config: Config) -> int | None:
        """Tokens that a layer with a sliding window sees; None: no layer has one."""
        found: int | None = getattr(config, "sliding_window", None)
        return found

    def position_ids(
        self, attention_mask: Tensor, shift: int | Tensor, config: Config
    ) -> Tensor | None:
        """Position ids of a text behind `shift` prefix tokens, whatever its padding.

        `shift` is one number, or [batch, 1] of them.

        Counted from the mask [batch, n], so that padding on the left moves nothing.

        Returns:
            [batch, n]; [batch, 2, n] with block positions, 0 for padding, where there are such;
            None where positions enter as a relative bias.
        """
        if self.positions == "none":
            return None
        counted = attention_mask.cumsum(dim=1).sub(1).clamp(min=0)
        if self.positions == "blocks":
            counted = counted * attention_mask
            return torch.stack((counted, torch.zeros_like(counted)), dim=1)
        return counted + shift + self.position_offset(config)


def attention_modules(
    family: Family, backbone: nn.Module, config: Config
) -> list[tuple[SlotName, int, nn.Module]]:
    """Every attention module that can be prompted, as (slot, layer from 0, module), in order."""
    return [
        (stack.slot, layer, backbone.get_submodule(stack.path.format(layer)))
        for stack in family.stacks
        for layer in range(stack.layers(config))
    ]
