"""What the page has of each run itself: recipe, metrics and the end of its log, within bounds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ptv2_scale.runtime.errors import printable
from ptv2_scale.sweep.records import TrialRecord

# Of one text, and of all texts of all runs.
LONGEST_BYTES = 8 * 1024
ALL_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class RunTexts:
    """Texts of a run; empty where there is none.

    Attributes:
        recipe: the beginning of `recipe.yaml`.
        metrics: the last lines of `metrics.jsonl`.
        log: the last lines of what the launch printed, or of the first rank's log.
    """

    recipe: str
    metrics: str
    log: str


def texts_of(records: Sequence[TrialRecord]) -> list[RunTexts]:
    """The texts of all runs; the more runs, the shorter each."""
    most = min(LONGEST_BYTES, ALL_BYTES // (3 * max(1, len(records))))
    return [_texts(one.run, most) for one in records]


def _texts(run: Path, most: int) -> RunTexts:
    log = tail(run.with_name(f"{run.name}.log"), most) if run.name else ""
    return RunTexts(
        head(run / "recipe.yaml", most),
        tail(run / "metrics.jsonl", most),
        log or tail(run / "logs" / "rank-00000.log", most),
    )


def head(path: Path, most: int) -> str:
    """The beginning of a file; empty: it cannot be read."""
    data, size = _read(path, most, from_end=False)
    return _lines(data) + ("\n… (the rest is in the run directory)" if size > most else "")


def tail(path: Path, most: int) -> str:
    """The last whole lines of a file; empty: it cannot be read."""
    data, size = _read(path, most, from_end=True)
    if size > most:
        _, newline, rest = data.partition(b"\n")
        data = rest if newline else data
    return ("… (the beginning is in the run directory)\n" if size > most else "") + _lines(data)


def _read(path: Path, most: int, *, from_end: bool) -> tuple[bytes, int]:
    try:
        if not path.is_file():  # a pipe would be waited for
            return b"", 0
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - most) if from_end else 0)
            return file.read(most), size
    except OSError:
        return b"", 0


def _lines(data: bytes) -> str:
    text = data.decode(errors="replace").replace("\t", "    ")
    return "\n".join(printable(line) for line in text.splitlines())
