"""`predict` and `generate` from file to file: rows answered part by part, and kept as they are."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO

from ptv2_scale.cli.output import (
    BOARDS,
    Output,
    row_output,
    standard_output,
    stream,
    submission_output,
)
from ptv2_scale.cli.ranks import early
from ptv2_scale.cli.summary import verdict
from ptv2_scale.config import RunConfig
from ptv2_scale.runtime.atomic import new_file, refuse_existing, working_file
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.rank_env import rank_from_environment, world_from_environment

if TYPE_CHECKING:
    from ptv2_scale.data.rows import Row
    from ptv2_scale.distributed.ranks import RankContext
    from ptv2_scale.inference.exported import Export
    from ptv2_scale.inference.kept_answers import Answers, KeptAnswers
    from ptv2_scale.inference.predictor import Predictor
    from ptv2_scale.inference.writing import GenerationOptions

_SHOWN = 20  # of the rows that were skipped


@dataclass
class _Prediction:
    """A prediction, opened by one rank.

    Attributes:
        exports: that answer.
        rows: that are answered.
        output: for the answers.
        texts: how each row's own export answers it by a text; None: each export answers all rows.
        problems: what was wrong with each row that is skipped.
        kept: answers so far, on the first rank.
    """

    exports: list[Export]
    rows: list[Row]
    output: Output
    texts: GenerationOptions | None = None
    problems: list[str] = field(default_factory=list)
    kept: KeptAnswers | None = None


def answer_rows(
    arguments: argparse.Namespace, key: str, texts: GenerationOptions | None = None
) -> None:
    """Answer the rows of a file on all ranks; the first one writes.

    Args:
        arguments: of the command.
        key: under which a row's answer stands.
        texts: see `_Prediction`.

    Raises:
        UserError: exports, rows, output and settings do not go together.
    """
    from ptv2_scale.engine.session import run_distributed
    from ptv2_scale.export.card import read_card
    from ptv2_scale.watch.thread import ThreadWatch

    def find() -> tuple[RunConfig, None]:
        return read_card(Path(arguments.sources[0])).config(), None

    with ExitStack() as stack:
        results = standard_output(arguments, stack)

        def prepare(config: RunConfig, _: None, ranks: RankContext) -> _Prediction:
            if arguments.format in BOARDS:
                opened = _open_submission(arguments)
            else:
                opened = _open_rows(arguments, key, texts, results)
            if rank_from_environment() == 0:
                opened.kept = _kept(opened, stack)
            return opened

        def action(ranks: RankContext, opened: _Prediction) -> None:
            _answer(opened, ranks)
            if opened.kept is not None:
                _finish(opened, opened.kept)

        run_distributed(early(find), prepare, action, ThreadWatch(graceful=False))


def _open_exports(arguments: argparse.Namespace) -> list[Export]:
    """The exports of a command, each of one task, with the batch size that it asks for."""
    from ptv2_scale.inference.exported import open_export
    from ptv2_scale.inference.predictor import check_one_task

    size = arguments.batch_size
    overrides = [] if size is None else [f"evaluate.micro_batch={size}"]
    exports = [
        open_export(Path(one), arguments.backbone, overrides, arguments.task)
        for one in arguments.sources
    ]
    for export in exports:
        check_one_task(export)
    return exports


def _open_rows(
    arguments: argparse.Namespace,
    key: str,
    texts: GenerationOptions | None,
    results: BinaryIO | None,
) -> _Prediction:
    """A file of rows, each to be given its answer."""
    from ptv2_scale.data.formats import stop_there
    from ptv2_scale.inference.files import STANDARD, check_by_all, check_by_owner, read_input

    source = Path(arguments.input)
    # Of several processes a launcher gives it to one at most.
    if source == STANDARD and world_from_environment() > 1:
        raise UserError("--input -: standard input reaches one rank alone. Name a file.")
    exports = _open_exports(arguments)
    problems: list[str] = []

    def note(error: UserError) -> None:
        problems.append(str(error))

    on_bad = note if arguments.on_bad_row == "skip" else stop_there
    check = (check_by_all if texts is None else check_by_owner)(exports)
    rows = read_input(source, check, key, on_bad)
    return _Prediction(exports, rows, row_output(arguments, key, rows, results), texts, problems)


def _open_submission(arguments: argparse.Namespace) -> _Prediction:
    """A published file, whose answers are written as a leaderboard takes them."""
    from ptv2_scale.inference.files import submission
    from ptv2_scale.runtime.atomic import made_folder

    exports, folder = _open_exports(arguments), Path(arguments.output)
    tasks = [export.setup.task for export in exports]
    asked = submission(Path(arguments.input), tasks, arguments.format)
    if rank_from_environment() == 0:
        made_folder(folder, "--output")
    return _Prediction(exports, asked.rows, submission_output(folder, asked))


def _kept(opened: _Prediction, stack: ExitStack) -> KeptAnswers:
    """Where the first rank keeps answers; nothing that is there already is written over."""
    from ptv2_scale.inference.kept_answers import KeptAnswers, prediction_identity

    output = opened.output
    identity = prediction_identity(opened.exports, opened.rows, opened.texts)
    if output.results is not None:
        place = Path(stack.enter_context(TemporaryDirectory())) / "answers"
    else:
        refuse_existing(output.path, output.called)
        if opened.problems:
            refuse_existing(output.skipped, str(output.skipped))
        place = working_file(output.path)
    kept = stack.enter_context(closing(KeptAnswers(place, identity, output.called)))
    if kept.done:
        print(f"goes on after {kept.done} of {len(opened.rows)} rows", file=sys.stderr)
    return kept


def _answer(opened: _Prediction, ranks: RankContext) -> None:
    from ptv2_scale.distributed.leaders import on_first_rank
    from ptv2_scale.engine.serving import sharded_predictor
    from ptv2_scale.inference.forward import no_report
    from ptv2_scale.runtime.progress import Progress

    kept, rows = opened.kept, opened.rows
    done = on_first_rank(ranks, lambda: 0 if kept is None else kept.done)
    predictor = sharded_predictor(opened.exports, ranks)
    on_progress = no_report if kept is None else Progress("rows")
    on_progress(done, len(rows))
    for found in _parts(predictor, opened, done, on_progress):
        first, done = done, done + len(next(iter(found.values())))
        if kept is not None:
            kept.add(found)
            stream(rows[first:done], found, opened.output)
        on_progress(done, len(rows))


def _parts(
    predictor: Predictor, opened: _Prediction, done: int, on_progress: Callable[[int, int], None]
) -> Iterator[Answers]:
    """Answers to the rows behind the first `done`, part by part."""
    if opened.texts is None:
        yield from predictor.predict_parts(opened.rows, done)
        return
    for part in predictor.generate_parts(opened.rows, opened.texts, done, on_progress):
        yield {"": part}  # one a row, whichever export it is by


def _finish(opened: _Prediction, kept: KeptAnswers) -> None:
    """Give the output its name, and say what became of all rows."""
    found, output = kept.answers(), opened.output
    if output.results is None:
        with new_file(output.path, output.called) as file:
            output.write(file, opened.rows, found)
        kept.remove()
    print(f"{len(opened.rows)} rows -> {output.path}", file=sys.stderr)
    if opened.problems:
        _say_skipped(opened.problems, output)
    if opened.texts is None:
        _score(opened, found)


def _say_skipped(problems: Sequence[str], output: Output) -> None:
    shown = problems if output.results is not None else problems[:_SHOWN]
    print(*(f"skipped: {problem}" for problem in shown), sep="\n", file=sys.stderr)
    if output.results is None:
        with new_file(output.skipped, str(output.skipped)) as file:
            file.write("".join(f"{problem}\n" for problem in problems).encode())
        print(f"{len(problems)} rows skipped -> {output.skipped}", file=sys.stderr)


def _score(opened: _Prediction, found: Answers) -> None:
    """Score the answers, where every row has its own label; a file leaves room for JSON."""
    scores: dict[str, Mapping[str, float]] = {}
    for export in opened.exports:
        task = export.setup.task
        try:
            metrics, trivial = (
                task.score(found[export.name], opened.rows),
                task.trivial(opened.rows),
            )
        except UserError as error:
            print(f"{export.name}: not scored: {error}", file=sys.stderr)
            continue
        scores[export.name] = metrics
        said = verdict(task.metric, metrics[task.metric], trivial.value, trivial.answer)
        print(f"{export.name}: {said}", file=sys.stderr)
    if scores and opened.output.results is None:
        print(json.dumps({"rows": len(opened.rows), "metrics": scores}))
