"""Texts that answer rows, each row by an export of its own.

Rows of exports whose method can be mixed share batches, and so forward passes; those of any other
export are answered in batches of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, cast

from ptv2_scale.backbones.sampling import Sampling
from ptv2_scale.data.collate import Batch, Example
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.inference.exported import Export
from ptv2_scale.inference.forward import check_same_examples, no_report, over_batches
from ptv2_scale.inference.owned_rows import OwnedRows, mixing_key
from ptv2_scale.inference.shared import Mixture
from ptv2_scale.model.decoding import Beams, Decoding, Request, Written
from ptv2_scale.model.setup import Setup
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Record, TextWriter


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


def _groups(rows: OwnedRows, options: GenerationOptions) -> dict[str, _Group]:
    """Groups of the exports that answer rows."""
    found: dict[str, _Group] = {}
    for model in rows.answering:
        export = rows.exports[model]
        task = writer_of(export)
        end, decoding = task.answer_end(export.setup.tokenizer), options.of(task)
        name = f"{end} {decoding.max_new_tokens} {mixing_key(export)}"
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
        UserError: a row cannot be read, or has no room for an answer beside it; or ranks have other
            rows.
    """

    def __init__(
        self,
        run: Callable[..., Any],
        rows: OwnedRows,
        options: GenerationOptions,
        ranks: RankContext,
    ) -> None:
        self._run, self._rows, self._ranks = run, rows, ranks
        self._groups = _groups(rows, options)
        found: list[Example] = []
        for part, group in self._groups.items():
            for model in group.models:
                examples = rows.examples(model)
                _check_room(rows.exports[model].setup, examples, group.decoding)
                found += (replace(example, part=part) for example in examples)
        self._examples = sorted(found, key=attrgetter("row"))
        check_same_examples(self._examples, ranks)

    def answers(self, on_progress: Callable[[int, int], None] = no_report) -> list[Record]:
        """Answers to all rows; see `write`."""
        return self.write(range(len(self._examples)), on_progress)

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
        mixture = Mixture(group.models, tuple(map(group.models.index, owners)))
        written = self._run(mixture=mixture, writing=request, **batch.inputs)
        made = zip(owners, written, strict=True)
        return [_record(self._rows.exports[owner], answer) for owner, answer in made]


def _record(export: Export, answer: Written) -> Record:
    record = writer_of(export).written(answer.tokens, export.setup.tokenizer)
    return {**record, "finished": answer.finished}


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
