"""Files for the leaderboards of GLUE and SuperGLUE: their names, and their lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ptv2_scale.config import TaskSection
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Leaderboard
from ptv2_scale.tasks.catalogue import BENCHMARKS

TITLES: Mapping[Leaderboard, str] = {"glue": "GLUE", "superglue": "SuperGLUE"}
# Columns of a row's number that cannot do without; GLUE's is its place where there is none.
NUMBERS: Mapping[Leaderboard, tuple[str, ...]] = {"glue": (), "superglue": ("idx",)}
_INDEX = ("index", "id", "idx")  # GLUE's own files have one of the first two, the hub's the last


def official_file(section: TaskSection, board: Leaderboard, source: Path) -> str:
    """The leaderboard's name of the file with answers to the rows of `source`.

    Raises:
        UserError: the recipe's task is none of the leaderboard's.
    """
    spec = BENCHMARKS.get(section.name)
    if spec is None or not spec.submits or not spec.name.startswith(f"{board}/"):
        raise refusal(section, board)
    return spec.submits.get(source.name, next(iter(spec.submits.values())))


def refusal(section: TaskSection, board: Leaderboard) -> UserError:
    """What to say where a recipe's task is none of a leaderboard's."""
    names = ", ".join(name for name in BENCHMARKS if name.startswith(f"{board}/"))
    return UserError(
        f"--format {board}: writes what {TITLES[board]}'s leaderboard takes, and the export's"
        f" task is {section.name}; allowed: {names}. Leave --format out."
    )


def answer_lines(
    board: Leaderboard, rows: Sequence[Mapping[str, object]], answers: Sequence[str]
) -> list[str]:
    """One answer a row, by the row's number."""
    pairs = zip(rows, answers, strict=True)
    if board == "superglue":
        return [json.dumps({"idx": row["idx"], "label": answer}) for row, answer in pairs]
    indices = (_index(row, place) for place, row in enumerate(rows))
    return ["index\tprediction", *map("{}\t{}".format, indices, answers)]


def _index(row: Mapping[str, object], place: int) -> object:
    return next((row[name] for name in _INDEX if name in row), place)
