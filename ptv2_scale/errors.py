"""The one error that is the user's to mend, and the guess at what a mistyped word meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """The user's input is wrong; the message says where, what was found, and what to do.

    The command line prints it without a traceback and exits with 2.
    """


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """ " Did you mean 'x'?" for the nearest allowed word, or nothing where none is near."""
    near = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""
