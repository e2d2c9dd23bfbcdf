"""Rows that the tests keep, and the page that is made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROWS: dict[str, list[dict[str, Any]]] = {}


def add(section: str, **columns: Any) -> None:
    ROWS.setdefault(section, []).append(columns)


def write(path: Path) -> None:
    """Keep all rows as JSON; `page.py` makes a page of them."""
    path.write_text(json.dumps(ROWS, indent=1) + "\n")
