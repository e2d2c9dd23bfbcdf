"""Ranks on hosts that are not there, for tests of what would start them."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ptv2_scale.launchers.hostfile import Host
from ptv2_scale.launchers.rank_group import RankGroup

TRAIN = ("train", "my rte.yaml", "train.lr=5e-3", "--resume", "auto")
ALONE = RankGroup((Host("n1", 2),), "127.0.0.1", 29400, TRAIN)
TWO = RankGroup((Host("n1", 2), Host("n2", 2)), "n1", 29400, TRAIN)
UNEQUAL = RankGroup((Host("n1", 2), Host("n2", 3)), "n1", 29400, TRAIN)

_GOLDEN = Path(__file__).parents[1] / "launchers" / "golden"


def golden(name: str) -> str:
    """The text of a golden file."""
    return (_GOLDEN / name).read_text()


def lines(argv: Sequence[str]) -> str:
    """A command as golden files have it, a word a line."""
    return "".join(f"{word}\n" for word in argv).replace(sys.executable, "PYTHON")


def world_of(argv: Sequence[str]) -> Any:
    """The hosts and devices that DeepSpeed's launcher is told."""
    (word,) = [word for word in argv if word.startswith("--world_info=")]
    return json.loads(base64.urlsafe_b64decode(word.partition("=")[2]))
