"""Texts that answer rows, each row by an export of its own.

Rows of exports whose method can be mixed share batches, and so forward passes; those of any other
export are answered in batches of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from ptv2_scale.backbones.sampling import Sampling
from ptv2_scale.data.collate import Batch, Example
from ptv2_scale.data.rows import PlacedRow, place_of
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.inference.exported import Export
from ptv2_scale.inference.forward import check_same_examples, no_report, over_batches
from ptv2_scale.inference.shared import Writing
from ptv2_scale.model.decoding import Beams, Decoding, Request, Written
from ptv2_scale.model.setup import Setup
from ptv2_scale.runtime.errors import UserError, did_you_mean
from ptv2_scale.tasks.base import Record, TextWriter

EXPORT = "export"  # column of the name of the export that is to answer a row

Row = Mapping[str, object]


@dataclass(frozen=True)
class GenerationOptions:
    """How texts are to be written.

    Attributes:
        max_new_tokens: of an answer; None: what each export's recipe says.
        strategy: None: the likeliest token each time.
    """

    max_new_tokens: int | None = None
    strategy: Sampling | Beams | None = None

    def of(self, task: TextWriter) -> Decoding:
        """The same for one task."""
        most = task.max_new_tokens if self.max_new_tokens is None else self.max_new_tokens
        return Decoding(most, self.strategy)


@dataclass(frozen=True)
class _Group:
    """Exports whose rows may share a batch, by number, and how their answers are written."""

    models: tuple[int, ...]
    end: int
    decoding: Decoding


@dataclass(frozen=True)
class Rows:
    """Rows to be answered, and who answers them.

    Attributes:
        exports: on one backbone, in the order of their numbers.
        rows: all of them.
        owners: number of the export that answers each row.
    """

    exports: Sequence[Export]
    rows: Sequence[Row]
    owners: Sequence[int]

    def examples(self, groups: Mapping[str, _Group]) -> list[Example]:
        """The rows, tokenised, in their order; `part` is the group whose batches they may be in.

        Raises:
            UserError: a row cannot be read, or has no room for an answer beside it.
        """
        found: dict[int, Example] = {}
        for part, group in groups.items():
            for model in group.models:
                places = [place for place, owner in enumerate(self.owners) if owner == model]
                rows = [_placed(self.rows[place], place) for place in places]
                setup = self.exports[model].setup
                examples = setup.encode(rows, with_targets=False)
                _check_room(setup, examples, group.decoding)
                for example in examples:
                    place = places[example.row]
                    found[place] = replace(example, row=place, part=part)
        return [found[place] for place in range(len(self.rows))]

    def groups(self, options: GenerationOptions) -> dict[str, _Group]:
        """Groups of the exports that answer rows."""
        found: dict[str, _Group] = {}
        for model in sorted(set(self.owners)):
            export = self.exports[model]
            task = writer_of(export)
            end, decoding = task.answer_end(export.setup.tokenizer), options.of(task)
            method = export.setup.config.prompt.method
            alone = export.setup.method.mixer() is None
            name = f"{end} {decoding.max_new_tokens} {export.name if alone else ''}/{method}"
            before = found[name].models if name in found else ()
            found[name] = _Group((*before, model), end, decoding)
        return found


def writer_of(export: Export) -> TextWriter:
    """An export's task, as one that writes texts.

    Raises:
        UserError: it is of another kind.
    """
    task = export.setup.task
    if not isinstance(task, TextWriter):
        kind = export.setup.config.task.kind
        raise UserError(
            f"{export.name}: is of task.kind: {kind}, whose answers are no texts: predict gives"
            " them. Texts are generated where task.kind is text."
        )
    return task


def owner_of(row: Row, number: int, names: Sequence[str]) -> int:
    """Number of the export that a row names in its column `export`.

    Args:
        row: of the input.
        number: its number from 1, for messages about rows made in Python.
        names: of the exports.

    Raises:
        UserError: it names none, or none of these.
    """
    name = row.get(EXPORT)
    if not isinstance(name, str) or name not in names:
        found = f"found {name!r:.60}" if EXPORT in row else "is missing"
        guess = did_you_mean(name, names) if isinstance(name, str) else ""
        raise UserError(
            f"{place_of(row, number)}, column '{EXPORT}': {found}; of several exports each row"
            f" names the one that answers it: {', '.join(names)}.{guess}"
        )
    return names.index(name)


class RowsWriter:
    """Answers to rows, part by part; every rank makes it, and asks for the same parts.

    All rows are read and tokenised at first: what is wrong with one of them is said before the
    first token is written.

    Args:
        run: calls a `SharedBackbone` of the exports.
        rows: what is to be answered.
        options: how.
        ranks: where this process stands.

    Raises:
        UserError: see `Rows.examples`; or ranks have other rows.
    """

    def __init__(
        self, run: Callable[..., Any], rows: Rows, options: GenerationOptions, ranks: RankContext
    ) -> None:
        self._run, self._rows, self._ranks = run, rows, ranks
        self._groups = rows.groups(options)
        self._examples = rows.examples(self._groups)
        check_same_examples(self._examples, ranks)

    @property
    def whole(self) -> range:
        """Numbers of all rows."""
        return range(len(self._examples))

    def write(
        self, part: range, on_progress: Callable[[int, int], None] = no_report
    ) -> list[Record]:
        """Answers to the rows of these numbers, one record a row in their order.

        Args:
            part: numbers of rows that follow each other.
            on_progress: see `over_batches`.
        """
        examples = self._examples[part.start : part.stop]
        first = self._rows.exports[0].setup
        return over_batches(first, examples, self._ranks, self._make, on_progress=on_progress)

    def _make(self, batch: Batch, asked: list[Example]) -> list[Record]:
        group = self._groups[cast(str, asked[0].part)]
        # Of all rows, not of a part's: sampling draws by them.
        numbers = [example.row for example in asked]
        owners = [self._rows.owners[number] for number in numbers]
        request = Request(group.end, group.decoding, numbers, synced=self._ranks.world > 1)
        places = tuple(group.models.index(owner) for owner in owners)
        written = self._run(writing=Writing(group.models, places, request), **batch.inputs)
        made = zip(owners, written, strict=True)
        return [_record(self._rows.exports[owner], answer) for owner, answer in made]


def _record(export: Export, answer: Written) -> Record:
    record = writer_of(export).written(answer.tokens, export.setup.tokenizer)
    return {**record, "finished": answer.finished}


def _placed(row: Row, place: int) -> Row:
    """The row, which keeps its number among all rows."""
    return PlacedRow(row, place_of(row, place + 1))


def _check_room(setup: Setup, examples: Sequence[Example], decoding: Decoding) -> None:
    """Refuse answers that would run over the end of a position table.

    Raises:
        UserError: names the lengths.
    """
    if setup.files.family.encoder_decoder:
        return
    longest = max(example.length for example in examples)
    try:
        # The last token of an answer is not read any more.
        setup.method.check_length(longest + decoding.max_new_tokens - 1)
    except UserError as error:
        raise UserError(
            f"a text of {longest} tokens with an answer of max_new_tokens ="
            f" {decoding.max_new_tokens} is too long for this backbone. {error}"
        ) from None
