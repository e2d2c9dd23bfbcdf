"""Room for a text beside what a method puts in front of it."""

from __future__ import annotations

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.runtime.errors import UserError


def check_room(
    family: Family, config: Config, max_length: int, length: int = 0, shift: int = 0
) -> None:
    """Refuse a text that, with its prefix, is longer than the backbone's positions or window.

    Args:
        family: the backbone's.
        config: its configuration.
        max_length: tokens of the longest text.
        length: tokens in front of it.
        shift: how many of these take a position each.

    Raises:
        UserError: names both lengths and the room there is.
    """
    room = family.position_room(config)
    if room is not None and shift + max_length > room:
        keys, before = "task.max_length", ""
        if shift:
            keys, before = "prompt.length and task.max_length", f"{shift} prefix tokens and "
        raise UserError(
            f"{keys}: {before}{max_length} text tokens are longer than {family.name}'s position"
            f" table, which has room for {room}. {_ways_out(shift, max_length, room)}."
        )
    window = getattr(config, "sliding_window", None)
    if window is not None and length and length + max_length > window:
        raise UserError(
            f"prompt.length and task.max_length: {length} + {max_length} tokens are longer"
            f" than this backbone's sliding window of {window}, which would hide the prefix."
        )


def _ways_out(shift: int, max_length: int, room: int) -> str:
    ways = [f"lower task.max_length to {room - shift}"] if room > shift else []
    if room > max_length:
        ways.append(f"lower prompt.length to {room - max_length}")
    if shift and room >= max_length:
        ways.append("set prompt.positions: keep")
    text = ", or ".join(ways) or "lower both prompt.length and task.max_length"
    return text[0].upper() + text[1:]
