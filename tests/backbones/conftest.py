"""Backbones that the tests of one file share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny import save_backbone


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny backbone of some kind, made when it is first asked for."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = save_backbone(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return folder
