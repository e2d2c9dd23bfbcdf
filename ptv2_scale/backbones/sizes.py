"""Sizes that a config.json may ask for: checked before time or memory is spent on them.

A module of every layer is made before any weight is compared, and tables of positions are real
memory even on the meta device; so what no model has is refused by number alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.runtime.errors import UserError

MAX_LAYERS = 1000  # a stack; the deepest published models have less than 200
MAX_SIZE = 1 << 24  # the largest sizes published are tables of ten million positions
MAX_ROW = 1 << 23  # keys and values of one token in all layers; T5-11B has 2.4 million of them


def check_sizes(config: Config, family: Family, source: str) -> None:
    """Refuse a configuration whose sizes are no model's.

    Args:
        config: transformers' own.
        family: of the backbone.
        source: the file, for the message.

    Raises:
        UserError: names the key, what was found and what is allowed.
    """
    for key, value in _numbers(config.to_dict()):
        # The base of rotary angles is no size.
        if abs(value) > MAX_SIZE and not key.startswith("rope_"):
            raise UserError(f"{source}: {key} is {value}; at most {MAX_SIZE} is allowed.")
        if key == "partial_rotary_factor" and not 0 < value <= 1:
            raise UserError(f"{source}: {key} is {value}; expected a number above 0, up to 1.")
    for name, size, most in _derived(config, family, source):
        if not 1 <= size <= most:
            raise UserError(f"{source}: {name} is {size}; expected 1 to {most}.")


def _numbers(value: Any, key: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, (int, float)):
        yield key, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _numbers(inner, str(name))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _numbers(inner, key)


def _derived(config: Config, family: Family, source: str) -> Iterator[tuple[str, int, int]]:
    try:
        for stack in family.stacks:
            yield f"the number of {stack.slot} layers", stack.layers(config), MAX_LAYERS
        yield "the width", family.width(config), MAX_SIZE
        yield "vocab_size", int(config.vocab_size), MAX_SIZE
        if family.token_types and not family.token_types_optional:
            yield "type_vocab_size", family.token_type_rows(config), MAX_SIZE
        room = family.position_room(config)
        if room is not None:
            yield "the number of positions", room, MAX_SIZE
        kv_heads, head_dim = family.kv_heads(config), family.head_dim(config)
        yield "the number of key/value heads", kv_heads, MAX_SIZE
        yield "the width of a head", head_dim, MAX_SIZE
        layers = sum(stack.layers(config) for stack in family.stacks)
        yield (
            "layers x 2 x key/value heads x their width",
            layers * 2 * kv_heads * head_dim,
            MAX_ROW,
        )
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{source}: its sizes cannot be understood: {error}.") from None
