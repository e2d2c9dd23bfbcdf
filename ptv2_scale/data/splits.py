"""Where a task's splits are: files of a folder, or a data set of the hub."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from ptv2_scale.config import Quoting
from ptv2_scale.data.formats import READERS, Reader
from ptv2_scale.data.rows import PlacedRow, Row
from ptv2_scale.data.sources import hub_rows, read_rows
from ptv2_scale.runtime.errors import UserError

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Layout:
    """How a task's files are written.

    Attributes:
        header: column names of .tsv files where they have no header line of their own.
        rename: names to give to columns of a file.
        quoting: of files by their suffix; "csv" where it is not named.
        skip_short: see `TableFormat`.
        readers: of files by their suffix; that of "" reads all others.
    """

    header: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    quoting: Mapping[str, Quoting] = field(default_factory=dict)
    skip_short: bool = False
    readers: Mapping[str, Reader] = field(default_factory=lambda: READERS)

    def read(self, path: Path, columns: Sequence[str]) -> list[Row]:
        """All rows of a file, each with at least `columns`; UserError if they cannot be had."""
        return read_rows(
            path,
            columns,
            header=self.header if path.suffix == ".tsv" else (),
            rename=self.rename,
            quoting=self.quoting.get(path.suffix, "csv"),
            skip_short=self.skip_short,
            readers=self.readers,
        )


class Splits(Protocol):
    """A place that rows are read from."""

    @property
    def layout(self) -> Layout:
        """How the task's files are written, of a split or of other rows."""

    def rows(self, split: Split, columns: Sequence[str]) -> list[Row]:
        """All rows of a split, each with at least `columns`; UserError if they cannot be had."""

    def place(self, split: Split) -> str:
        """Where the split is, for messages."""


@dataclass(frozen=True)
class LocalSplits:
    """Files of one folder.

    Attributes:
        folder: where they are.
        files: file name of each split; a split that is not named cannot be read.
        layout: how they are written.
    """

    folder: Path
    files: Mapping[Split, str]
    layout: Layout = field(default_factory=Layout)

    def rows(self, split: Split, columns: Sequence[str]) -> list[Row]:
        """See `Splits`."""
        path = self.path(split)
        if not os.path.isdir(self.folder):
            raise UserError(f"task.path: found '{self.folder}', which is not a folder")
        return self.layout.read(path, columns)

    def place(self, split: Split) -> str:
        """See `Splits`."""
        return str(self.path(split))

    def path(self, split: Split) -> Path:
        """The split's file; whether it is there is not looked at.

        Raises:
            UserError: the split has no file, or one outside the folder.
        """
        if split not in self.files:
            raise UserError(
                f"the {split} split has no file; name one inside {self.folder} with "
                f"task.{split}=FILE"
            )
        file = Path(self.files[split])
        if file.is_absolute() or ".." in file.parts:
            raise UserError(
                f"task.{split}: found '{file}', expected the name of a file inside task.path,"
                " without '..'"
            )
        return self.folder / file


@dataclass(frozen=True)
class HubSplits:
    """A data set of the Hugging Face hub.

    Attributes:
        dataset, subset: its name, and that of a part.
        layout: of the task's published files.
        names: of splits that have other names there.
    """

    dataset: str
    subset: str | None
    layout: Layout = field(default_factory=Layout)
    names: Mapping[Split, str] = field(default_factory=dict)

    def rows(self, split: Split, columns: Sequence[str]) -> list[Row]:
        """See `Splits`."""
        rows = hub_rows(self.dataset, self.subset, self.names.get(split, split))
        missing = [column for column in columns if column not in rows[0]]
        if missing:
            raise UserError(
                f"{self.place(split)}: no column '{missing[0]}'; found: {', '.join(rows[0])}"
            )
        place = self.place(split)
        return [PlacedRow(row, f"{place}, row {number}") for number, row in enumerate(rows, 1)]

    def place(self, split: Split) -> str:
        """See `Splits`."""
        subset = "" if self.subset is None else f" ({self.subset})"
        return f"{self.dataset}{subset}, {self.names.get(split, split)}"
