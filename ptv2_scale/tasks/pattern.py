"""Patterns of a cloze question: "{premise} question: {hypothesis} True or False? answer: {mask}".

A column's name in braces stands for a row's text, {mask} for the blank; {{ and }} are braces. No
text is formatted by Python: a pattern can name columns and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

from ptv2_scale.runtime.errors import UserError, did_you_mean

BLANK = "mask"


@dataclass(frozen=True)
class Pattern:
    """A pattern, parted at its columns and its blank.

    Attributes:
        text: as it was written.
        parts: (literal text, name of the column or `BLANK` behind it, or None), in order.
    """

    text: str
    parts: tuple[tuple[str, str | None], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are named, each once."""
        names = (name for _, name in self.parts if name not in (None, BLANK))
        return tuple(dict.fromkeys(str(name) for name in names))

    @property
    def spaced(self) -> bool:
        """Whether a space stands before the blank, so that the word is spelled behind one."""
        (literal,) = (literal for literal, name in self.parts if name == BLANK)
        return literal[-1:].isspace()

    @property
    def columns_behind(self) -> tuple[str, ...]:
        """Columns that stand behind the blank."""
        names = [name for _, name in self.parts]
        return tuple(str(name) for name in names[names.index(BLANK) + 1 :] if name is not None)

    def filled(self, values: Mapping[str, str], blank: str) -> str:
        """The pattern with a row's texts, and something in place of the blank."""
        return _joined(self.parts, {**values, BLANK: blank})

    def before_blank(self, values: Mapping[str, str]) -> str:
        """What stands before the blank, without spaces at its end."""
        end = [name for _, name in self.parts].index(BLANK)
        return _joined(self.parts[: end + 1], {**values, BLANK: ""}).rstrip()


def _joined(parts: Sequence[tuple[str, str | None]], texts: Mapping[str, str]) -> str:
    return "".join(literal + ("" if name is None else texts[name]) for literal, name in parts)


def read_pattern(text: str, columns: Sequence[str]) -> Pattern:
    """A pattern from a recipe.

    Args:
        text: as it was written.
        columns: that a row has.

    Raises:
        UserError: it has no blank or several, no column, or braces around anything else.
    """
    try:
        found = list(Formatter().parse(text))
    except ValueError as error:
        raise _wrong(text, f"{error}. Write {{{{ and }}}} for braces of the text") from None
    names = [name for _, name, _, _ in found if name is not None]
    allowed = [*columns, BLANK]
    for _, name, spec, kind in found:
        if name is not None and (name not in allowed or spec or kind):
            braces = f"{{{name}{f'!{kind}' if kind else ''}{f':{spec}' if spec else ''}}}"
            listed = ", ".join(f"{{{one}}}" for one in allowed)
            reason = f"found {braces:.60}, allowed: {listed}"
            raise _wrong(text, reason, did_you_mean(name, allowed))
    if BLANK in columns:
        raise _wrong(text, "{mask} is the blank, and a column is called so too; rename the column")
    if names.count(BLANK) != 1:
        count = names.count(BLANK)
        raise _wrong(text, f"{{mask}}, the blank, stands in it {count} times, not once")
    if len(names) == 1:
        raise _wrong(text, f"it names no column; allowed: {', '.join(columns)}")
    return Pattern(text, tuple((literal, name) for literal, name, _, _ in found))


def _wrong(text: str, reason: str, hint: str = "") -> UserError:
    return UserError(f"task.pattern: '{text:.80}': {reason}.{hint}")
