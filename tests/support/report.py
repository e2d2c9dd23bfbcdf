"""Rows that the tests keep of what they have seen; `page.py` makes a page of them."""

from __future__ import annotations

from typing import Any

ROWS: dict[str, list[dict[str, Any]]] = {}


def add(section: str, **columns: Any) -> dict[str, Any]:
    """Keep a row; it may still be changed."""
    ROWS.setdefault(section, []).append(columns)
    return columns
