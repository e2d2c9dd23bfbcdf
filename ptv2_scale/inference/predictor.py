"""`Predictor`: one frozen backbone with any number of exports, at work on rows."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import torch

from ptv2_scale.backbones.filling import Fill
from ptv2_scale.backbones.load import Unsharded, materialise, usable_device
from ptv2_scale.data.rows import given_rows
from ptv2_scale.data.splits import Split
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.export.card import source_folder
from ptv2_scale.inference.exported import Export, open_export
from ptv2_scale.inference.forward import answer_all, check_same_examples, no_report
from ptv2_scale.inference.owned_rows import EXPORT, OwnedRows, owner_of
from ptv2_scale.inference.reading import RowsReader, check_numbers
from ptv2_scale.inference.shared import SharedBackbone, filler_of, models_of
from ptv2_scale.inference.writing import GenerationOptions, RowsWriter
from ptv2_scale.model.decoding import Request, chosen_strategy
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Record, TextWriter, Trivial

Row = Mapping[str, object]
# Loads what is on the meta device, and gives what runs it: (export's number, **inputs) -> output.
Load = Callable[[SharedBackbone, Fill], Callable[..., Any]]

_PART = 32  # batches that are answered at once, and kept


class Predictor:
    """Answers to rows, by one export or several on the same backbone.

        predictor = Predictor.load("runs/demo")
        predictor.predict([{"text": "the room was clean ."}])
        # such as [{"label": "positive", "probabilities": {...}}]

    `Predictor.load` takes a backbone whole into this process; the commands `predict` and
    `evaluate` shard it over their ranks.

    Args:
        exports: opened, on the same backbone.
        ranks: where this process stands.
        load: loads the models.

    Raises:
        UserError: two exports need different backbones, or are called alike.
    """

    def __init__(self, exports: Sequence[Export], ranks: RankContext, load: Load) -> None:
        if not exports:
            raise UserError("no export was named. Give the folder of one at least.")
        _check_same_backbone(exports)
        self._exports = {export.name: export for export in exports}
        self._numbers = {export.name: number for number, export in enumerate(exports)}
        self._ranks = ranks
        models = list(models_of(exports))
        shared = SharedBackbone(models).requires_grad_(False).eval()
        self._run = load(shared, filler_of(models, exports))

    @classmethod
    def load(
        cls,
        *sources: str | Path,
        backbone: str | Path | None = None,
        device: str | torch.device = "cpu",
        task: str | None = None,
    ) -> Predictor:
        """Load exports, or finished runs, whole into this process.

        Args:
            *sources: their folders.
            backbone: name or folder, where it is not the one the exports name.
            device: where the model goes.
            task: which of several tasks.

        Raises:
            UserError: an export is damaged, or the backbone is another one.
        """
        if not isinstance(backbone, (str, Path, NoneType)):
            raise UserError(f"backbone: found a {type(backbone).__name__}, expected a path.")
        name = None if backbone is None else str(backbone)
        place = usable_device(device)
        exports = [open_export(source_folder(source), name, task=task) for source in sources]

        def load(shared: SharedBackbone, fill: Fill) -> Callable[..., Any]:
            materialise(shared, fill, Unsharded(place))
            return shared.to(place)

        return cls(exports, RankContext.alone(place), load)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the exports: those of their folders."""
        return tuple(self._exports)

    def predict(self, rows: Sequence[Row], name: str | None = None) -> list[Record]:
        """Answers to rows, in their order; every rank calls it.

        Args:
            rows: with the columns of the task.
            name: of the export that answers all of them; None: the only one there is, or of several
                the one that a row names in its column `export`. Rows of several prefixes share
                forward passes.

        Returns:
            One record a row, whose keys are the task's: `label` and `probabilities` for
            classification; for texts see `generate`, which writes the likeliest tokens here.

        Raises:
            UserError: a column is missing, a text cannot be read, a row names none of the exports,
                or ranks have other rows.
        """
        if name is None and len(self._exports) > 1:
            return self._predict_owned(self._owned(rows, None))
        export = self._named(self.names[0] if name is None else name)
        check_one_task(export)
        if isinstance(export.setup.task, TextWriter):
            return self.generate(rows, export.name)
        rows = given_rows(rows, export.setup.task.columns)
        examples = export.setup.encode(rows, with_targets=False)
        return self._answer(export, examples)

    def _predict_owned(self, rows: OwnedRows) -> list[Record]:
        """Answers to rows that name their exports."""
        writers = [isinstance(rows.exports[one].setup.task, TextWriter) for one in rows.answering]
        if all(writers):
            return RowsWriter(self._run, rows, GenerationOptions(), self._ranks).answers()
        if any(writers):
            kinds = "some exports answer by texts and some do not. Ask for these rows apart."
            raise UserError(f"column '{EXPORT}': {kinds}")
        return RowsReader(self._run, rows, self._ranks).answer()

    def predict_parts(
        self, rows: Sequence[Row], start: int = 0
    ) -> Iterator[dict[str, list[Record]]]:
        """Answers of all exports to rows, part by part in their order; every rank calls it.

        Parts follow from the rows and the first export's batch size alone, so those that come
        after `start`, the end of a part, are the same bits whether others were made before or not.

        Args:
            rows: with the columns of the tasks.
            start: number of rows at the beginning that are answered already.

        Yields:
            The answers to the next rows, as `predict` gives them, by each export's name.

        Raises:
            UserError: see `predict`.
        """
        ranges = self._ranges(len(rows), start)
        parts = [self._parts(name, rows, ranges) for name in self.names]
        for found in zip(*parts, strict=True):
            yield dict(zip(self.names, found, strict=True))

    def _ranges(self, count: int, start: int) -> list[range]:
        """Numbers of the rows of each part that comes after `start`."""
        first = next(iter(self._exports.values()))
        size = _PART * first.setup.config.evaluate.examples
        return [range(begin, min(begin + size, count)) for begin in range(start, count, size)]

    def _parts(
        self, name: str, rows: Sequence[Row], ranges: Sequence[range]
    ) -> Iterator[list[Record]]:
        """Answers of one export, part by part."""
        export = self._exports[name]
        if isinstance(export.setup.task, TextWriter):
            yield from map(self._writer(rows, name, GenerationOptions()).write, ranges)
            return
        check_one_task(export)
        examples = export.setup.encode(rows, with_targets=False)
        places = [example.row for example in examples]  # in the order of rows
        for part in ranges:
            own = slice(bisect_left(places, part.start), bisect_left(places, part.stop))
            yield self._answer(export, examples[own])

    def generate(
        self,
        rows: Sequence[Row],
        name: str | None = None,
        *,
        max_new_tokens: int | None = None,
        num_beams: int | None = None,
        length_penalty: float | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        on_progress: Callable[[int, int], None] = no_report,
    ) -> list[Record]:
        """Texts that answer rows, in their order; every rank calls it.

        Without settings of beams or of sampling the likeliest token is written each time. A row's
        draws follow from the seed and its number alone.

        Args:
            rows: with the columns of the task.
            name: of the export that answers all of them; None: the only one there is, or of several
                the one that a row names in its column `export`. Rows of several prefixes share
                forward passes.
            max_new_tokens: of an answer; None: what each export's recipe says.
            num_beams: of a beam search.
            length_penalty: of a beam search, 1 by default; see `Beams`.
            temperature: of sampling, 1 by default; see `Sampling`.
            top_k: of sampling.
            top_p: of sampling.
            seed: of sampling, 0 by default.
            on_progress: called with the batches of this rank that are done, and with all of them.

        Returns:
            One record a row: its `text`, and whether it is `finished`, and not cut at
            `max_new_tokens`.

        Raises:
            UserError: an export's task is of another kind, a setting is not allowed, or a row
                cannot be read, or names none of the exports.
        """
        strategy = chosen_strategy(
            num_beams=num_beams,
            length_penalty=length_penalty,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
        )
        writer = self._writer(rows, name, GenerationOptions(max_new_tokens, strategy))
        return writer.answers(on_progress)

    def generate_parts(
        self,
        rows: Sequence[Row],
        options: GenerationOptions,
        start: int = 0,
        on_progress: Callable[[int, int], None] = no_report,
    ) -> Iterator[list[Record]]:
        """Texts that answer rows, part by part in their order; every rank calls it.

        Parts and the numbers of rows are those of `predict_parts`: the texts that come after
        `start`, drawn ones too, are the same whether others were written before or not.

        Args:
            rows: with the columns of the tasks; of several exports each row names its own.
            options: how texts are written.
            start: number of rows at the beginning that are answered already.
            on_progress: called while a part is written with about the number of rows that are
                answered, and with that of all of them.

        Yields:
            The answers to the next rows, as `generate` gives them.

        Raises:
            UserError: see `generate`.
        """
        writer = self._writer(rows, None, options)
        for part in self._ranges(len(rows), start):
            yield writer.write(part, _within(part, len(rows), on_progress))

    def _writer(
        self, rows: Sequence[Row], name: str | None, options: GenerationOptions
    ) -> RowsWriter:
        return RowsWriter(self._run, self._owned(rows, name), options, self._ranks)

    def _owned(self, rows: Sequence[Row], name: str | None) -> OwnedRows:
        """Rows, each with the export that answers it; see `generate`."""
        exports = list(self._exports.values())
        if name is None and len(exports) == 1:
            name = exports[0].name
        answering = exports if name is None else [self._named(name)]
        for export in answering:
            check_one_task(export)
        columns = [EXPORT] if name is None else answering[0].setup.task.columns
        found = given_rows(rows, columns)
        owners = [
            owner_of(row, number, self.names) if name is None else self._numbers[name]
            for number, row in enumerate(found, start=1)
        ]
        return OwnedRows(exports, found, owners)

    def evaluate(self, name: str, split: Split) -> tuple[dict[str, float], Trivial]:
        """Metrics of one export on a split of its task, and what learning nothing scores.

        Raises:
            UserError: the split has no answers.
        """
        export = self._named(name)
        if split not in get_args(Split):
            raise UserError(f"split: found {split!r:.60}, allowed: {', '.join(get_args(Split))}.")
        data = export.setup.split(split)
        try:
            # First: without answers the backbone need not run.
            trivial = export.setup.task.trivial(data.rows)
        except UserError as error:
            raise UserError(f"task.{split}: {error}.") from None
        records = self._answer(export, data.examples)
        return export.setup.task.score(records, data.rows), trivial

    def _named(self, name: str) -> Export:
        if not isinstance(name, str) or name not in self._exports:
            raise UserError(f"no export is called {name!r:.60}; there are {', '.join(self.names)}.")
        return self._exports[name]

    def _answer(self, export: Export, examples: Sequence[Any]) -> list[Record]:
        number = self._numbers[export.name]
        check_same_examples(examples, self._ranks)

        def run(writing: Request | None = None, **inputs: Any) -> Any:
            output = self._run(export=number, writing=writing, **inputs)
            if writing is None:
                check_numbers(export, output.outputs)
            return output

        return answer_all(run, export.setup, examples, self._ranks)


def _within(
    part: range, rows: int, on_progress: Callable[[int, int], None]
) -> Callable[[int, int], None]:
    """What reports rows, called with batches of a part; its end is its caller's to report."""

    def report(done: int, batches: int) -> None:
        if done < batches:
            on_progress(part.start + len(part) * done // batches, rows)

    return report


def check_one_task(export: Export) -> None:
    """Refuse to answer for several tasks at once.

    Raises:
        UserError: names the tasks.
    """
    task = export.setup.config.task
    if len(task.single) > 1:
        names = ", ".join(key.rpartition(".")[2] for key in task.single)
        raise UserError(
            f"{export.name}: is of the tasks {names}. Say which one answers: --task NAME, or task="
            " in Python."
        )


def _check_same_backbone(exports: Sequence[Export]) -> None:
    keys = {_backbone_of(export) for export in exports}
    if len(keys) > 1:
        raise UserError(
            "these exports were trained on different backbones, dtypes or with another"
            " backbone.quantization; run them apart."
        )
    names = [export.name for export in exports]
    if len(set(names)) != len(names):
        raise UserError(f"two exports are called alike ({', '.join(names)}); rename a folder.")


def _backbone_of(export: Export) -> tuple[str, ...]:
    """What one loaded backbone has one of."""
    section = export.setup.config.backbone
    return export.card.fingerprint, section.dtype, str(section.quantization)
