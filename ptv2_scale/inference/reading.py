"""Answers to rows, each from one forward pass by an export of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from torch import Tensor

from ptv2_scale.data.collate import Batch, Example
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.inference.exported import Export
from ptv2_scale.inference.forward import by_rows, check_same_examples, over_batches
from ptv2_scale.inference.owned_rows import OwnedRows, mixing_key
from ptv2_scale.inference.shared import Mixture
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Record


class RowsReader:
    """Answers to rows; every rank makes it, with the same rows.

    All rows are read and tokenised at first: what is wrong with one of them is said before the
    first forward pass.

    Args:
        run: calls a `SharedBackbone` of the exports.
        rows: what is to be answered.
        ranks: where this process stands.

    Raises:
        UserError: a row cannot be read, or ranks have other rows.
    """

    def __init__(self, run: Callable[..., Any], rows: OwnedRows, ranks: RankContext) -> None:
        self._run, self._rows, self._ranks = run, rows, ranks
        self._groups = [
            (models, [example for model in models for example in rows.examples(model)])
            for models in _groups(rows)
        ]
        check_same_examples([one for _, examples in self._groups for one in examples], ranks)

    def answer(self) -> list[Record]:
        """One record a row, in the order of rows; every rank calls it."""
        found: dict[int, Record] = {}
        for models, examples in self._groups:
            first = self._rows.exports[models[0]].setup

            def make(
                batch: Batch, asked: list[Example], models: tuple[int, ...] = models
            ) -> list[Record]:
                return self._make(batch, asked, models)

            records = over_batches(first, examples, self._ranks, make)
            found |= self._by_rows(models, examples, records)
        return [found[place] for place in range(len(self._rows.rows))]

    def _by_rows(
        self, models: Sequence[int], examples: Sequence[Example], records: Sequence[Record]
    ) -> dict[int, Record]:
        found: dict[int, Record] = {}
        pairs = list(zip(examples, records, strict=True))
        for model in models:
            own = [pair for pair in pairs if self._rows.owners[pair[0].row] == model]
            task = self._rows.exports[model].setup.task
            made = by_rows(task, [one for one, _ in own], [record for _, record in own])
            found |= zip(dict.fromkeys(one.row for one, _ in own), made, strict=True)
        return found

    def _make(self, batch: Batch, asked: list[Example], models: tuple[int, ...]) -> list[Record]:
        owners = [self._rows.owners[example.row] for example in asked]
        if self._ranks.world == 1:
            models = tuple(sorted(set(owners)))  # heads of others need not run
        outputs = self._outputs(batch, models, _by_lines(owners, asked))
        found: dict[int, Record] = {}
        for model, made in zip(models, outputs, strict=True):
            places = [place for place, owner in enumerate(owners) if owner == model]
            if places:
                own, lines = [asked[place] for place in places], _lines_of(places, asked)
                export, answered = self._rows.exports[model], made[lines]
                check_numbers(export, answered)
                found |= zip(places, export.setup.task.decode(answered, own), strict=True)
        return [found[place] for place in range(len(asked))]

    def _outputs(
        self, batch: Batch, models: tuple[int, ...], owners: Sequence[int]
    ) -> list[Tensor]:
        """What each model makes of a batch."""
        mixture = Mixture(models, tuple(map(models.index, owners)))
        made = self._run(mixture=mixture, right_padded=batch.right_padded, **batch.inputs)
        return [one.outputs for one in made]


def _groups(rows: OwnedRows) -> list[tuple[int, ...]]:
    """Numbers of the exports whose rows share batches.

    One whose rows fill a batch has batches of its own: a mixed one copies a prefix for each row.
    """
    found: dict[str, tuple[int, ...]] = {}
    for model, count in sorted(Counter(rows.owners).items()):
        export = rows.exports[model]
        config = export.setup.config
        own = export.name if count >= config.evaluate.examples else ""
        head = getattr(config.task, "head", None)
        key = f"{mixing_key(export)} {config.task.kind} {head} {own}"
        found[key] = (*found.get(key, ()), model)
    return list(found.values())


def _by_lines(owners: Sequence[int], asked: Sequence[Example]) -> list[int]:
    """The owner of each line of a batch."""
    pairs = zip(owners, asked, strict=True)
    return [owner for owner, example in pairs for _ in example.sequences or (0,)]


def _lines_of(places: Sequence[int], asked: Sequence[Example]) -> list[int]:
    """Numbers of the lines of a batch that some of its examples have."""
    ends = [0, *accumulate(len(example.sequences) or 1 for example in asked)]
    return [line for place in places for line in range(ends[place], ends[place + 1])]


def check_numbers(export: Export, outputs: Tensor) -> None:
    """Refuse outputs that are no answer.

    Raises:
        UserError: one of them is not a number.
    """
    if outputs.isnan().any():
        raise UserError(
            f"{export.name}: its outputs are not numbers (NaN), which is no answer. Its tensors are"
            " damaged, or do not go with the values of this backbone: export the run again."
        )
