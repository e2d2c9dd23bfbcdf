"""Answers of a long prediction, kept on disk as they are made: an interrupted one goes on.

The file's first line says which prediction it is of, by a digest of exports, rows and
settings; each other line has the answers to the next rows. A line that a killed process wrote half
is taken out, and its rows are answered again, in the same batches as before.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ptv2_scale.data.rows import Row
from ptv2_scale.inference.exported import Export
from ptv2_scale.inference.writing import GenerationOptions
from ptv2_scale.runtime.appended import repair_tail
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Record

Answers = Mapping[str, Sequence[Record]]  # by each export's name, one a row


def prediction_identity(
    exports: Sequence[Export], rows: Iterable[Row], texts: GenerationOptions | None = None
) -> str:
    """Digest of a prediction: of its exports, their batches, and the rows in their order.

    Args:
        exports: that answer.
        rows: that are answered.
        texts: how answers are written where each is a text by the row's own export.
    """
    digest = hashlib.sha256()
    for export in exports:
        batch = export.setup.config.evaluate.examples
        digest.update(_json([export.name, batch, export.setup.fingerprint, asdict(export.card)]))
    if texts is not None:
        digest.update(_json(["texts", asdict(texts)]))
    for row in rows:
        digest.update(_json(row))
    return digest.hexdigest()


def _json(value: Any) -> bytes:
    return json.dumps(value, default=str).encode() + b"\n"


class KeptAnswers:
    """The answers that a prediction has kept so far.

    Args:
        path: of the file.
        identity: of the prediction.
        called: what messages call what is being made: "--output rows.jsonl".

    Raises:
        UserError: the file has another prediction's answers, another process is at work on it, or
            it cannot be written.
    """

    def __init__(self, path: Path, identity: str, called: str) -> None:
        self._path, self._called = path, called
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            self._lock()
            repair_tail(self._file.fileno())
            self.done = self._begin(identity)
        except BaseException as error:
            self._file.close()
            raise (self._unwritable(error) if isinstance(error, OSError) else error) from None

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{self._called}: another process is at work on it.") from None

    def _begin(self, identity: str) -> int:
        """Number of rows that are answered already."""
        first, *others = self._lines() or [None]
        found = first.get("prediction") if isinstance(first, dict) else None
        if found is None:  # new, or what an earlier version has left
            self._file.truncate(0)
            self._write({"prediction": identity})
            return 0
        if found != identity:
            raise UserError(
                f"{self._called}: {self._path} has the answers of an interrupted prediction of"
                " other rows, exports, batches or settings. Give that command again to finish it,"
                " delete the file, or name another output."
            )
        return sum(len(next(iter(one["answers"].values()))) for one in others)

    def _lines(self) -> list[Any]:
        try:
            return [json.loads(line) for line in self._path.read_bytes().splitlines()]
        except ValueError:
            return []

    def add(self, found: Answers) -> None:
        """Keep the answers to the next rows.

        Raises:
            UserError: they cannot be written.
        """
        self._write({"answers": found})
        self.done += len(next(iter(found.values())))

    def _write(self, record: Mapping[str, Any]) -> None:
        rest = memoryview(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise self._unwritable(error) from None

    def answers(self) -> dict[str, list[Record]]:
        """All answers so far, by each export's name."""
        found: dict[str, list[Record]] = {}
        for line in self._lines()[1:]:
            for name, records in line["answers"].items():
                found.setdefault(name, []).extend(records)
        return found

    def close(self) -> None:
        """Close the file; without any answer it is removed."""
        if not self.done:
            self.remove()
        self._file.close()

    def remove(self) -> None:
        """Remove the file, whose answers are in another one by now."""
        self._path.unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(f"{self._called}: cannot be written ({self._path}: {error.strerror}).")
