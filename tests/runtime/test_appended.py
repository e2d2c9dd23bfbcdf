"""Lines added to a file: what a crash or a full disk has cut is taken out, and nothing else."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from ptv2_scale.runtime.appended import AppendedLines

WHOLE = '{"step": 1}\n{"step": 2}\n'
TORN = [
    '{"step"',
    '{"step": 3, "loss": 0.',
    "\0" * 5000,
    '{"step": 3}\0\0',
    "[1, 2",
    '{"a": "' + "x" * 200_000,
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def steps(path: Path) -> list[int]:
    """As whoever reads JSON lines has them: each line has to be one."""
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def add(path: Path, *lines: str) -> list[str]:
    said: list[str] = []
    with closing(AppendedLines(path, said.append)) as file:
        for line in lines:
            file.write(line)
    return said


@pytest.mark.parametrize("tail", TORN, ids=[str(number) for number in range(len(TORN))])
@pytest.mark.parametrize("before", ["", WHOLE], ids=["alone", "behind"])
def test_a_torn_line_is_taken_out_and_the_next_is_whole(before: str, tail: str, path: Path) -> None:
    path.write_text(before + tail)
    assert add(path, '{"step": 4}', '{"step": 5}') == []
    assert steps(path) == [*([1, 2] if before else []), 4, 5]


def test_a_record_that_lacks_its_end_of_line_alone_is_kept(path: Path) -> None:
    path.write_text(WHOLE + '{"step": 3}')
    add(path, '{"step": 4}')
    assert steps(path) == [1, 2, 3, 4]


def test_opening_alone_changes_nothing(path: Path) -> None:
    path.write_text(WHOLE + '{"step')
    add(path)
    assert path.read_text() == WHOLE + '{"step'


class Full:
    """A file on a disk that takes but some bytes of the next writes."""

    def __init__(self, inner: object, room: list[int | OSError]) -> None:
        self._inner, self._room = inner, room

    def write(self, content: bytes) -> int:
        room = self._room.pop(0) if self._room else len(content)
        if isinstance(room, OSError):
            raise room
        return self._inner.write(content[:room])  # type: ignore[attr-defined, no-any-return]

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


@pytest.mark.parametrize("room", [[3, 5], [OSError(28, "No space left on device"), 4]])
def test_a_full_disk_loses_lines_and_says_so_once(room: list[int | OSError], path: Path) -> None:
    said: list[str] = []
    with closing(AppendedLines(path, said.append)) as file:
        file.write('{"step": 1}')
        file._file = Full(file._file, room)  # type: ignore[assignment]
        for step in (2, 3, 4, 5):
            file.write(f'{{"step": {step}}}')
    assert steps(path) == [1, 4, 5]
    assert len(said) == 1
    assert "lines are lost" in said[0]
