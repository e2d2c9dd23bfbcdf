"""Whether this Python has a package, without importing it."""

from __future__ import annotations

from importlib.util import find_spec


def is_installed(name: str) -> bool:
    """Whether a top-level package can be imported.

    A folder without code does not count: some trackers make one of their own name where they run.
    """
    try:
        found = find_spec(name)
    except ValueError:  # it is being imported, or stands in for one that is missing
        return False
    return found is not None and found.origin is not None
