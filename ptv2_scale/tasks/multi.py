"""Several tasks that share what is trained but their heads: the paper's multi-task P-Tuning v2.

A row holds the row of one of the tasks beside that task's name. Every batch is of one task, so that
all ranks run the same head.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.backbones.load import BackboneFiles
from ptv2_scale.config import Multi
from ptv2_scale.data.collate import Batch, Example, Padding
from ptv2_scale.data.rows import PlacedRow, Row, place_of
from ptv2_scale.data.splits import Split
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import (
    BackboneReader,
    Leaderboard,
    Record,
    Style,
    Submission,
    Task,
    TextWriter,
    Tokenizer,
    Trivial,
)
from ptv2_scale.tasks.heads import SeveralHeads

METRIC = "mean"
_TASK, _ROW = "task", "row"


@dataclass(frozen=True)
class MultiTask:
    """A `Task` of several.

    Attributes:
        section: the recipe's.
        parts: the tasks by name.
    """

    section: Multi
    parts: Mapping[str, Task]

    def __post_init__(self) -> None:
        """Refuse what is scored on written texts, for one of several heads cannot write: a
        `UserError`."""
        for name, task in self.parts.items():
            if isinstance(task, TextWriter) and task.scores_written:
                raise UserError(
                    f"task.tasks.{name}.metric: {task.metric} is scored on texts that the model"
                    " writes, which it does where it has one task. Choose log_likelihood or"
                    " exact_match."
                )

    def on(self, files: BackboneFiles) -> MultiTask:
        """See `BackboneReader`: each task that is one is put on the backbone."""
        parts = {
            name: task.on(files) if isinstance(task, BackboneReader) else task
            for name, task in self.parts.items()
        }
        return replace(self, parts=parts)

    @property
    def name(self) -> str:
        """See `Task`."""
        return self.section.name

    @property
    def columns(self) -> tuple[str, ...]:
        """See `Task`: the name of a task and one of its rows."""
        return (_TASK, _ROW)

    @property
    def labels(self) -> tuple[str, ...]:
        """See `Task`: each task has its own."""
        return ()

    @property
    def metric(self) -> str:
        """See `Task`: the mean of all tasks' own metrics."""
        return METRIC

    def resolved(self) -> Multi:
        """See `Task`."""
        found = {name: task.resolved() for name, task in self.parts.items()}
        return self.section.model_copy(update={"tasks": found})

    def describe(self) -> list[str]:
        """See `Task`."""
        return [f"{name}: {line}" for name, task in self.parts.items() for line in task.describe()]

    def describe_rows(self, rows: Sequence[Mapping[str, object]]) -> list[str]:
        """See `Task`."""
        found = []
        for name, task in self.parts.items():
            for line in task.describe_rows(rows_of(rows, name)):
                warning = "warning: " if line.startswith("warning: ") else ""
                found.append(f"{warning}{name}: {line.removeprefix(warning)}")
        return found

    def place(self, split: Split) -> str:
        """See `Task`."""
        return "; ".join(task.place(split) for task in self.parts.values())

    def rows(self, split: Split) -> list[Row]:
        """See `Task`: one task's rows after another's."""
        return [
            PlacedRow({_TASK: name, _ROW: row}, place_of(row, number))
            for name, task in self.parts.items()
            for number, row in enumerate(task.rows(split), start=1)
        ]

    def check_row(self, row: Mapping[str, object], number: int) -> None:
        """See `Task`."""
        self._check_mixed(row, number)
        self.parts[str(row[_TASK])].check_row(_row(row), number)

    def _check_mixed(self, row: Mapping[str, object], number: int) -> None:
        name = row.get(_TASK)
        if name not in list(self.parts) or not isinstance(row.get(_ROW), Mapping):
            raise UserError(
                f"{place_of(row, number)}: found {dict(row)!r:.80}, expected the name of a task"
                f" ({', '.join(self.parts)}) and one of its rows:"
                f" {{'{_TASK}': '{next(iter(self.parts))}', '{_ROW}': {{...}}}}. Rows of one task"
                " alone are read where that is named: task=NAME."
            )

    def submission(self, board: Leaderboard, source: Path) -> Submission:
        """See `Task`: a file is of one task."""
        raise UserError(f"--format {board}: a file is of one task. Name it with --task.")

    def encode(
        self,
        rows: Sequence[Mapping[str, object]],
        tokenizer: Tokenizer,
        style: Style,
        max_length: int,
        with_targets: bool = True,
    ) -> list[Example]:
        """See `Task`; each task has its own longest text."""
        for number, row in enumerate(rows, start=1):
            self._check_mixed(row, number)
        return [
            example
            for name, places in _runs(rows)
            for example in self._encode_run(name, rows, places, tokenizer, style, with_targets)
        ]

    def _encode_run(
        self,
        name: str,
        rows: Sequence[Mapping[str, object]],
        places: range,
        tokenizer: Tokenizer,
        style: Style,
        with_targets: bool,
    ) -> Iterator[Example]:
        length = self.section.tasks[name].max_length
        own = [_row(rows[place]) for place in places]
        for example in self.parts[name].encode(own, tokenizer, style, length, with_targets):
            yield replace(example, row=places[example.row], part=name)

    def head(self, family: Family, config: Config) -> SeveralHeads:
        """See `Task`: a head for each task."""
        return SeveralHeads(
            {name: task.head(family, config).of(None) for name, task in self.parts.items()}
        )

    def longest(self, length: int) -> list[Example]:
        """See `Task`: every batch is of one task, whose texts may be shorter than others'."""
        return [
            replace(example, part=name)
            for name, task in self.parts.items()
            for example in task.longest(min(length, self.section.tasks[name].max_length))
        ]

    def collate(self, examples: Sequence[Example], pad: Padding) -> Batch:
        """See `Task`; the examples are of one task."""
        name, task = self._task(examples)
        inputs = task.collate(examples, pad).inputs
        return Batch(inputs, self.targets(examples), name)

    def targets(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `Task`: those of one task, whose name stands before theirs and, for kinds that have
        none of their own, alone."""
        name, task = self._task(examples)
        own = {f"{name}/{key}": value for key, value in task.targets(examples).items()}
        return {f"{name}/": torch.empty(0), **own}

    def loss_sum(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """See `Task`."""
        (name,) = {key.partition("/")[0] for key in targets}
        own = {key.partition("/")[2]: value for key, value in targets.items() if key[-1] != "/"}
        return self.parts[name].loss_sum(outputs, own)

    def loss_count(self, examples: Sequence[Example]) -> int:
        """See `Task`."""
        return self._task(examples)[1].loss_count(examples)

    def decode(self, outputs: Tensor, examples: Sequence[Example]) -> list[Record]:
        """See `Task`."""
        name, task = self._task(examples)
        return [{_TASK: name, **record} for record in task.decode(outputs, examples)]

    def combine(self, records: Sequence[Record]) -> Record:
        """See `Task`."""
        name = records[0][_TASK]
        return {_TASK: name, **self.parts[name].combine([_answer(one) for one in records])}

    def score(
        self, records: Sequence[Record], rows: Sequence[Mapping[str, object]]
    ) -> dict[str, float]:
        """See `Task`: the mean of all tasks' own metrics, and each task's by its name."""
        found: dict[str, dict[str, float]] = {}
        for name, task in self.parts.items():
            answers = [_answer(one) for one in records if one[_TASK] == name]
            found[name] = task.score(answers, rows_of(rows, name))
        own = [found[name][task.metric] for name, task in self.parts.items()]
        return {
            METRIC: mean(own),
            **{f"{name}/{key}": one for name, many in found.items() for key, one in many.items()},
        }

    def trivial(self, rows: Sequence[Mapping[str, object]]) -> Trivial:
        """See `Task`."""
        found = {name: task.trivial(rows_of(rows, name)) for name, task in self.parts.items()}
        answers = ", ".join(f"{one.answer} ({name})" for name, one in found.items())
        return Trivial(mean(one.value for one in found.values()), answers)

    def _task(self, examples: Sequence[Example]) -> tuple[str, Task]:
        (name,) = {example.part for example in examples}
        assert name is not None  # `encode` has named it
        return name, self.parts[name]


def single_tasks(task: Task) -> dict[str | None, Task]:
    """The tasks that a task consists of by their names; one that is single has none."""
    return dict(task.parts.items()) if isinstance(task, MultiTask) else {None: task}


def rows_of(rows: Sequence[Mapping[str, object]], name: str | None) -> list[Any]:
    """The rows of one of several tasks, as it reads them; of a single task all."""
    return list(rows) if name is None else [_row(row) for row in rows if row[_TASK] == name]


def _runs(rows: Sequence[Mapping[str, object]]) -> Iterator[tuple[str, range]]:
    """Rows of one task that follow one another, as ranges of their places."""
    start = 0
    for place in range(1, len(rows) + 1):
        if place == len(rows) or rows[place][_TASK] != rows[start][_TASK]:
            yield str(rows[start][_TASK]), range(start, place)
            start = place


def _row(mixed: Mapping[str, object]) -> Any:
    return mixed[_ROW]


def _answer(record: Record) -> Record:
    return {key: value for key, value in record.items() if key != _TASK}
