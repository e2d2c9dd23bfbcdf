"""Untrained tiny models of the demo's language, each with how it is to be optimized."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from ptv2_scale.demo.tokenizer import build_causal_tokenizer, build_sentinel_tokenizer


@dataclass(frozen=True)
class Architecture:
    """A class of models.

    Attributes:
        style: its class, for a model card.
        details: what else the card says of it.
        tokenizer: makes its tokenizer.
        model: makes an untrained model for a tokenizer.
        rate: the highest learning rate of a parameter, from its values at the start.
        rate_in_words: the same, for a model card.
    """

    style: str
    details: str
    tokenizer: Callable[[], PreTrainedTokenizerFast]
    model: Callable[[PreTrainedTokenizerFast], Any]
    rate: Callable[[torch.nn.Parameter], float]
    rate_in_words: str


def build_t5(tokenizer: PreTrainedTokenizerFast) -> T5ForConditionalGeneration:
    """An untrained T5 of the v1.1 style: gated activations, no dropout."""
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=96,
        d_kv=16,
        d_ff=192,
        num_heads=8,
        num_layers=3,
        num_decoder_layers=2,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    model = T5ForConditionalGeneration(config)
    sharpen_position_biases(model)
    return model


def sharpen_position_biases(model: T5ForConditionalGeneration) -> None:
    """Start the heads with clear tastes for positions.

    The usual start is near zero, and at this scale a head needs most of the run to grow a
    bias that tells a word's neighbours from the rest of the text.
    """
    for name, parameter in model.named_parameters():
        if "relative_attention_bias" in name:
            torch.nn.init.normal_(parameter)


def rate_of_size(parameter: torch.nn.Parameter) -> float:
    """A hundredth of the parameter's size at the start.

    T5 starts query weights tiny and embeddings large, since its own optimizer scales
    updates to the parameter; with one rate for all, the queries overshoot.
    """
    return 1e-2 * parameter.detach().square().mean().sqrt().item()


def build_llama(
    tokenizer: PreTrainedTokenizerFast, width: int = 96, layers: int = 4
) -> LlamaForCausalLM:
    """An untrained Llama with heads of 16, its projection tied to the word embeddings."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 16,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.05,
    )
    return LlamaForCausalLM(config)


def llama(width: int = 96, layers: int = 4) -> Architecture:
    """A Llama of a size; wider ones take smaller steps."""
    rate = round(4e-3 * (96 / width) ** 0.5, 4)
    return Architecture(
        "Llama",
        f"({layers} layers of width {width}, tied embeddings)",
        build_causal_tokenizer,
        partial(build_llama, width=width, layers=layers),
        lambda _: rate,
        f"{rate}",
    )


T5 = Architecture(
    "T5",
    "(v1.1 style: gated activations, no dropout)",
    build_sentinel_tokenizer,
    build_t5,
    rate_of_size,
    "0.01 of each parameter's size",
)
