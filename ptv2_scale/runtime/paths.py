"""Paths as users write them: `~` and `$NAME` stand for what a shell would put there."""

from __future__ import annotations

import os
import re

_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([^{}]*)\})", re.ASCII)


def expand_path(text: str) -> str:
    """The path that a text names.

    Args:
        text: `~` and `~user` at its beginning are home directories, `$NAME` and `${NAME}` variables
            of the environment. An address with :// is taken as it is.

    Raises:
        ValueError: there is no such user or variable, or nothing is left; says so.
    """
    if "://" in text:
        return text
    home, rest = "", text
    if text.startswith("~"):
        user, slash, rest = text.partition("/")
        home, rest = _home(user), slash + rest
    expanded = home + _VARIABLE.sub(_value, rest)
    if not expanded:
        raise ValueError("nothing is left of it: its variables are empty")
    return expanded


def _home(user: str) -> str:
    home = os.path.expanduser(user)
    if home == user:
        raise ValueError(
            f"there is no user '{user[1:]}'; write './{user}' for a folder of that name"
            if user != "~"
            else "the home directory is not known: set HOME"
        )
    return home.rstrip("/") or "/"


def _value(match: re.Match[str]) -> str:
    name = match[1] or match[2]
    if name not in os.environ:
        raise ValueError(f"the variable {name} is not set. Set it, or write the path out")
    return os.environ[name]
