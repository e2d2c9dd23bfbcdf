"""Room for a text beside what a method puts in front of it."""

from __future__ import annotations

from typing import NamedTuple

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.runtime.errors import UserError


<<<<<<< HEAD
class FrontTokens(NamedTuple):
    """What a method puts in front of a text.

    Attributes:
        length: tokens.
        shift: how many of these take a position each.
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
=======
def check_room(family: Family, config: Config, max_length: int, shift: int = 0) -> None:
    """Refuse a text that, with what is in front of it, is longer than the table of positions.
>>>>>>> c78a525 (Families: Gemma, Mistral, DeBERTa, ELECTRA, DistilBERT and ModernBERT can be prompted)

    Args:
        family: the backbone's.
        config: its configuration.
        max_length: tokens of the longest text.
<<<<<<< HEAD
        front: what is in front of it.
=======
        shift: tokens in front of it that take a position each.
>>>>>>> c78a525 (Families: Gemma, Mistral, DeBERTa, ELECTRA, DistilBERT and ModernBERT can be prompted)

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
<<<<<<< HEAD
    window, length = getattr(config, "sliding_window", None), front.length
    if window is not None and length and length + max_length > window:
        raise UserError(
            f"prompt.length and task.max_length: {length} + {max_length} tokens are longer"
            f" than this backbone's sliding window of {window}, which would hide the {front.what}."
        )
=======
>>>>>>> c78a525 (Families: Gemma, Mistral, DeBERTa, ELECTRA, DistilBERT and ModernBERT can be prompted)


def _ways_out(front: FrontTokens, max_length: int, room: int) -> str:
    ways = [f"lower task.max_length to {room - front.shift}"] if room > front.shift else []
    if room > max_length:
        ways.append(f"lower prompt.length to {room - max_length}")
    if front.other_way and room >= max_length:
        ways.append(front.other_way)
    text = ", or ".join(ways) or "lower both prompt.length and task.max_length"
    return text[0].upper() + text[1:]
