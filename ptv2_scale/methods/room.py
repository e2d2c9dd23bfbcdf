"""Room for a text beside what a method puts in front of it."""

from __future__ import annotations

from typing import NamedTuple

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.runtime.errors import UserError


class FrontTokens(NamedTuple):
    """What a method puts in front of a text.

    Attributes:
        length: tokens that a sliding window counts among the text's own, and so may hide.
        shift: tokens that take a position each.
        what: its name in messages.
        other_way: what else the user can do where it takes too many positions.
    """

    length: int
    shift: int
    what: str = "prefix"
    other_way: str | None = None


_NOTHING = FrontTokens(0, 0)


def check_room(
    family: Family, config: Config, max_length: int, front: FrontTokens = _NOTHING
) -> None:
    """Refuse a text that, with what is in front of it, exceeds the backbone's positions or window.

    Args:
        family: the backbone's.
        config: its configuration.
        max_length: tokens of the longest text.
        front: what is in front of it.

    Raises:
        UserError: names both lengths and the room there is.
    """
    room = family.position_room(config)
    if room is not None and front.shift + max_length > room:
        keys, before = "task.max_length", ""
        if front.shift:
            keys = "prompt.length and task.max_length"
            before = f"{front.shift} {front.what} tokens and "
        raise UserError(
            f"{keys}: {before}{max_length} text tokens are longer than {family.name}'s position"
            f" table, which has room for {room}. {_ways_out(front, max_length, room)}."
        )
    window = _window_of_all_layers(family, config)
    if window is not None and front.length and front.length + max_length > window:
        raise UserError(
            f"prompt.length and task.max_length: {front.length} + {max_length} tokens are longer"
            f" than this backbone's sliding window of {window}, which would hide the {front.what}."
        )


def _window_of_all_layers(family: Family, config: Config) -> int | None:
    """The window of a backbone that has one in every layer; others see farther in some."""
    types = getattr(config, "layer_types", None) or ()
    return None if "full_attention" in types else family.window(config)


def _ways_out(front: FrontTokens, max_length: int, room: int) -> str:
    ways = [f"lower task.max_length to {room - front.shift}"] if room > front.shift else []
    if room > max_length:
        ways.append(f"lower prompt.length to {room - max_length}")
    if front.other_way and room >= max_length:
        ways.append(front.other_way)
    text = ", or ".join(ways) or "lower both prompt.length and task.max_length"
    return text[0].upper() + text[1:]
