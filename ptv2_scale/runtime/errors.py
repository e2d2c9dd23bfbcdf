"""The one error that is the user's to fix, and the guess at what a mistyped word meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice

_LONGEST_MESSAGE = 8000  # characters
_LONGEST_WORD = 100
_MOST_WORDS = 2000


class UserError(Exception):
    """The user's input is wrong; the message says where, what was found, and what to do.

    The command line prints it without a traceback and exits with 2. Messages quote files of
    strangers: what a terminal would obey is escaped, and what is too long to be read is cut.
    """

    def __init__(self, message: str) -> None:
        if len(message) > _LONGEST_MESSAGE:
            message = f"{message[:_LONGEST_MESSAGE]}... (cut)"
        super().__init__("\n".join(map(printable, message.split("\n"))))


def printable(text: str) -> str:
    """The text, its characters that a terminal could not show escaped."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """ " Did you mean 'x'?" for the nearest allowed word, or nothing where none is near."""
    # Comparing takes the product of two lengths: texts of a file's size would take for ever.
    known = [one for one in islice(allowed, _MOST_WORDS) if len(one) <= _LONGEST_WORD]
    near = difflib.get_close_matches(word[: _LONGEST_WORD + 1], known, n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""
