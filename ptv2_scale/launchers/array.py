"""The runs of a sweep, one a line of a file."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import read_text

_MAX_BYTES = 4 << 20
# What YAML takes for a word, whatever is in it.
_PLAIN = re.compile(r"[A-Za-z./][A-Za-z0-9./_-]*", re.ASCII)


def read_trials(path: Path, run: Path) -> tuple[tuple[str, ...], ...]:
    """What each run adds to the command line.

    Args:
        path: lines of key=value words, quoted as in a shell; blank lines and what follows a # are
            left out.
        run: what the name of a run begins with whose line does not give one.

    Raises:
        UserError: it cannot be read, a word is no key=value, two runs have one directory, or there
            is no run; names file and line.
    """
    lines: dict[str, int] = {}
    trials: list[tuple[str, ...]] = []
    for number, words in _lines(path):
        words = _with_run(words, f"{run}-{len(trials):04d}")
        directory = [word for word in words if word.startswith("run=")][-1]
        if directory in lines:
            raise UserError(
                f"{path}:{number}: found {directory} of line {lines[directory]} again. Give each"
                " run a directory of its own, or none."
            )
        lines[directory] = number
        trials.append(words)
    if not trials:
        raise UserError(f"{path}: no run in it; expected key=value words, a run a line.")
    return tuple(trials)


def _with_run(words: tuple[str, ...], directory: str) -> tuple[str, ...]:
    if any(word.startswith("run=") for word in words):
        return words
    plain = _PLAIN.fullmatch(directory) is not None
    return (*words, f"run={directory if plain else json.dumps(directory, ensure_ascii=False)}")


def _lines(path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    text = read_text(path, _MAX_BYTES, "a list of runs")
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            words = tuple(shlex.split(line, comments=True))
        except ValueError as error:
            raise UserError(f"{path}:{number}: {str(error).lower()}.") from None
        for word in words:
            if "=" not in word or word.startswith("-") or "\0" in word:
                raise UserError(f"{path}:{number}: found '{word}', expected key=value.")
        if words:
            yield number, words
