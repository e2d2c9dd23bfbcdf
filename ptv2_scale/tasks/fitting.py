"""Texts of several parts that lose only of their first: a candidate is read whole, or refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Style, Tokenizer
from ptv2_scale.tasks.questions import NamedTexts
from ptv2_scale.tasks.text import Inputs, encode_texts, refuse_empty, token_count

ROUNDS = 4  # each cut is an estimate from characters; what is still too long loses its first part


@dataclass
class _Long:
    """A text that is too long.

    Attributes:
        place: its place among all.
        parts: the text's.
        room: tokens that are left for the first part.
        without: the text without its first part.
        characters: of the first part that are kept.
        found: the text as it is cut.
    """

    place: int
    parts: NamedTexts
    room: int
    without: Inputs
    characters: int
    found: Inputs

    @property
    def cut(self) -> NamedTexts:
        """The parts that are left."""
        (name, first), *rest = self.parts
        return ((name, first[: self.characters]), *rest)

    @property
    def excess(self) -> float:
        """How many times the tokens of the first part are what there is room for."""
        return (token_count(self.found) - token_count(self.without)) / self.room


def fit(
    texts: Sequence[NamedTexts],
    tokenizer: Tokenizer,
    style: Style,
    max_length: int,
    called: Callable[[int], str],
) -> tuple[list[Inputs], int]:
    """Token ids of texts, and how many of them had their first part cut to fit `max_length`.

    Args:
        texts: all of them of as many parts.
        tokenizer: the backbone's.
        style: "pair": the tokenizer joins the first part and the others, which have a space
            between; "named": one text, with its name before each part.
        max_length: most tokens, special tokens included.
        called: a text's place for messages, by its number from 1.

    Raises:
        UserError: a text has no tokens, leaves no room for its first part, or has but one and is
            too long; or the tokenizer fails.
    """
    inputs = _encode(texts, tokenizer, style)
    refuse_empty(inputs, called)
    places = [place for place, found in enumerate(inputs) if token_count(found) > max_length]
    bare = _encode([_bare(texts[place]) for place in places], tokenizer, style)
    long = [
        _Long(place, texts[place], max_length - token_count(rest), rest, 0, inputs[place])
        for place, rest in zip(places, bare, strict=True)
    ]
    for one in long:
        _check_room(one, max_length, called)
    _shorten(long, tokenizer, style)
    for one in long:
        inputs[one.place] = one.found
    return inputs, len(long)


def _shorten(long: Sequence[_Long], tokenizer: Tokenizer, style: Style) -> None:
    for one in long:
        one.characters = len(one.parts[0][1])
    for _ in range(ROUNDS):
        left = [one for one in long if one.excess > 1]
        for one in left:
            one.characters = int(one.characters / one.excess)
        for one, found in zip(left, _encode([o.cut for o in left], tokenizer, style), strict=True):
            one.found = found
    for one in long:
        one.found = one.without if one.excess > 1 else one.found


def _check_room(one: _Long, max_length: int, called: Callable[[int], str]) -> None:
    if len(one.parts) == 1:
        what = f"takes {token_count(one.found)} tokens"
    elif one.room < 1:
        names = " and ".join(name for name, _ in one.parts[1:])
        what = f"takes {token_count(one.without)} tokens ({names}) without its {one.parts[0][0]}"
    else:
        return
    raise UserError(
        f"{called(one.place + 1)}: the candidate '{one.parts[-1][1]:.60}' {what}, and"
        f" task.max_length is {max_length}. Raise it, or shorten the candidate: candidates are not"
        " cut."
    )


def _bare(parts: NamedTexts) -> NamedTexts:
    (name, _), *rest = parts
    return ((name, ""), *rest)


def _encode(texts: Sequence[NamedTexts], tokenizer: Tokenizer, style: Style) -> list[Inputs]:
    return encode_texts(tokenizer, [_joined(parts, style) for parts in texts])


def _joined(parts: NamedTexts, style: Style) -> tuple[str, ...]:
    """The texts that a tokenizer gets."""
    if style == "named":
        return (" ".join(f"{name}: {text}" for name, text in parts),)
    first, *rest = (text for _, text in parts)
    return (first, " ".join(rest)) if rest else (first,)
