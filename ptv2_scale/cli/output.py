"""Where the answers to rows go: a file of some kind, or standard output."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ptv2_scale.runtime.errors import UserError

if TYPE_CHECKING:
    from ptv2_scale.data.rows import Row
    from ptv2_scale.inference.kept_answers import Answers
    from ptv2_scale.inference.row_files import FileKind


@dataclass(frozen=True)
class Output:
    """Where answers go.

    Attributes:
        path: the file, or `STANDARD`.
        kind: of it.
        key: under which a row's answer stands.
        results: standard output, where that is what is written.
    """

    path: Path
    kind: FileKind
    key: str
    results: BinaryIO | None = None

    @property
    def called(self) -> str:
        """As messages name it."""
        return f"--output {self.path}"

    @property
    def skipped(self) -> Path:
        """The list of rows that were skipped."""
        return self.path.with_name(f"{self.path.name}.skipped")


def open_output(arguments: argparse.Namespace, key: str, stack: ExitStack) -> Output:
    """The output that a command names.

    Args:
        arguments: of the command.
        key: under which a row's answer stands.
        stack: for as long as standard output takes nothing but answers.

    Raises:
        UserError: standard output does not take this kind.
    """
    path = Path(arguments.output)
    kind: FileKind = arguments.format or _kind_of(path)
    if path != Path("-"):
        return Output(path, kind, key)
    if kind != "jsonl":
        raise UserError(f"--format {kind}: standard output takes jsonl alone. Name a file.")
    return Output(path, kind, key, stack.enter_context(_results_alone()))


def _kind_of(path: Path) -> FileKind:
    from ptv2_scale.inference.row_files import kind_of

    return kind_of(path)


@contextmanager
def _results_alone() -> Iterator[BinaryIO]:
    """Standard output for results; what libraries print meanwhile goes to standard error."""
    sys.stdout.flush()
    results = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(results), "wb", buffering=0) as file:
            yield file
    finally:
        sys.stdout.flush()
        os.dup2(results, 1)
        os.close(results)


def stream(rows: Sequence[Row], found: Answers, output: Output) -> None:
    """Write answers at once, where they go to standard output."""
    from ptv2_scale.inference.files import answered_rows
    from ptv2_scale.inference.row_files import write_rows

    if output.results is None:
        return
    try:
        write_rows(output.results, output.kind, answered_rows(rows, output.key, found))
    except OSError as error:
        raise UserError(f"{output.called}: cannot be written ({error.strerror}).") from None
