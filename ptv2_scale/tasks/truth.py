"""Right answers, with which answers are compared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from ptv2_scale.runtime.errors import UserError

T = TypeVar("T")


def all_known(found: Iterable[T | None], what: str) -> list[T]:
    """Right answers of rows that all have one.

    Args:
        found: of each row; None: it has none.
        what: they are, for the message: "labels".

    Raises:
        UserError: one is missing.
    """
    read = list(found)
    known = [one for one in read if one is not None]
    if len(known) < len(read):
        raise UserError(f"these rows have no {what} (a published test split?): nothing to compare")
    return known
