"""Where the answers to rows go: a file of some kind, or standard output."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ptv2_scale.runtime.errors import UserError

if TYPE_CHECKING:
    from ptv2_scale.data.rows import Row
    from ptv2_scale.inference.kept_answers import Answers
    from ptv2_scale.inference.row_files import FileKind
    from ptv2_scale.tasks.base import Submission

    Write = Callable[[BinaryIO, Sequence[Row], Answers], None]

BOARDS = ("glue", "superglue")  # leaderboards that a file is written for


@dataclass(frozen=True)
class Output:
    """Where answers go.

    Attributes:
        path: the file, or `STANDARD`.
        write: writes rows with their answers.
        results: standard output, where that is what is written.
    """

    path: Path
    write: Write
    results: BinaryIO | None = None

    @property
    def called(self) -> str:
        """As messages name it."""
        return f"--output {self.path}"

    @property
    def skipped(self) -> Path:
        """The list of rows that were skipped."""
        return self.path.with_name(f"{self.path.name}.skipped")


def standard_output(arguments: argparse.Namespace, stack: ExitStack) -> BinaryIO | None:
    """Standard output, where a command names it for its answers.

    Args:
        arguments: of the command.
        stack: for as long as standard output takes nothing but answers.

    Raises:
        UserError: it does not take this format.
    """
    if arguments.output != "-":
        return None
    if arguments.format not in (None, "jsonl"):
        raise UserError(
            f"--format {arguments.format}: standard output takes jsonl alone. Name a file."
        )
    return stack.enter_context(_results_alone())


def row_output(
    arguments: argparse.Namespace, key: str, rows: Sequence[Row], results: BinaryIO | None
) -> Output:
    """The output of rows, each with its answer.

    Args:
        arguments: of the command.
        key: under which a row's answer stands.
        rows: to be answered.
        results: see `Output`.

    Raises:
        UserError: that kind of file does not take these rows.
    """
    from ptv2_scale.inference.files import answered_rows
    from ptv2_scale.inference.row_files import check_columns, kind_of, write_rows

    path = Path(arguments.output)
    kind: FileKind = arguments.format or kind_of(path)
    check_columns(kind, rows, key)

    def write(file: BinaryIO, rows: Sequence[Row], found: Answers) -> None:
        write_rows(file, kind, answered_rows(rows, key, found))

    return Output(path, write, results)


def submission_output(folder: Path, asked: Submission) -> Output:
    """The output of a leaderboard's file."""

    def write(file: BinaryIO, rows: Sequence[Row], found: Answers) -> None:
        (records,) = found.values()
        file.write("".join(f"{line}\n" for line in asked.lines(records)).encode())

    return Output(folder / asked.file, write)


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
    if output.results is None:
        return
    try:
        output.write(output.results, rows, found)
    except OSError as error:
        raise UserError(f"{output.called}: cannot be written ({error.strerror}).") from None
