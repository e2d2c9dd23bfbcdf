"""`predict` from file to file: rows answered part by part, kept as they are, and scored."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO

from ptv2_scale.cli.ranks import early
from ptv2_scale.cli.summary import verdict
from ptv2_scale.config import RunConfig
from ptv2_scale.runtime.atomic import new_file, refuse_existing, working_file
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.exit_codes import DONE
from ptv2_scale.runtime.rank_env import rank_from_environment, world_from_environment

if TYPE_CHECKING:
    from ptv2_scale.data.rows import Row
    from ptv2_scale.distributed.ranks import RankContext
    from ptv2_scale.inference.exported import Export
    from ptv2_scale.inference.kept_answers import Answers, KeptAnswers
    from ptv2_scale.inference.row_files import FileKind

_SHOWN = 20  # of the rows that were skipped


@dataclass(frozen=True)
class _Output:
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


@dataclass
class _Prediction:
    """A prediction, opened by one rank.

    Attributes:
        exports: that answer.
        rows: that are answered.
        problems: what was wrong with each row that is skipped.
        kept: answers so far, on the first rank.
    """

    exports: list[Export]
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    kept: KeptAnswers | None = None


def predict_rows(arguments: argparse.Namespace) -> int:
    """Answer the rows of a file on all ranks; the first one writes."""
    from ptv2_scale.engine.session import run_distributed
    from ptv2_scale.export.card import read_card
    from ptv2_scale.watch.thread import ThreadWatch

    def find() -> tuple[RunConfig, None]:
        return read_card(Path(arguments.sources[0])).config(), None

    with ExitStack() as stack:
        output = _output(arguments, stack)

        def prepare(config: RunConfig, _: None, ranks: RankContext) -> _Prediction:
            return _open(arguments, output, stack)

        def action(ranks: RankContext, opened: _Prediction) -> None:
            _answer(opened, output, ranks)
            if opened.kept is not None:
                _finish(opened, opened.kept, output)

        run_distributed(early(find), prepare, action, ThreadWatch(graceful=False))
    return DONE


def _output(arguments: argparse.Namespace, stack: ExitStack) -> _Output:
    path, several = Path(arguments.output), len(arguments.sources) > 1
    key = arguments.key or ("predictions" if several else "prediction")
    kind: FileKind = arguments.format or _kind_of(path)
    if path != Path("-"):
        return _Output(path, kind, key)
    if kind != "jsonl":
        raise UserError(f"--format {kind}: standard output takes jsonl alone. Name a file.")
    return _Output(path, kind, key, stack.enter_context(_results_alone()))


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


def open_exports(arguments: argparse.Namespace) -> list[Export]:
    """The exports of a command, each of one task, with the batch size that it asks for."""
    from ptv2_scale.inference.exported import open_export
    from ptv2_scale.inference.predictor import check_one_task

    size = getattr(arguments, "batch_size", None)
    overrides = [] if size is None else [f"evaluate.micro_batch={size}"]
    exports = [
        open_export(Path(one), arguments.backbone, overrides, arguments.task)
        for one in arguments.sources
    ]
    for export in exports:
        check_one_task(export)
    return exports


def _open(arguments: argparse.Namespace, output: _Output, stack: ExitStack) -> _Prediction:
    from ptv2_scale.data.formats import stop_there
    from ptv2_scale.inference.files import STANDARD, read_input
    from ptv2_scale.inference.row_files import check_columns

    source = Path(arguments.input)
    # Of several processes a launcher gives it to one at most.
    if source == STANDARD and world_from_environment() > 1:
        raise UserError("--input -: standard input reaches one rank alone. Name a file.")
    opened = _Prediction(open_exports(arguments))
    tasks = [export.setup.task for export in opened.exports]

    def note(error: UserError) -> None:
        opened.problems.append(str(error))

    on_bad = note if arguments.on_bad_row == "skip" else stop_there
    opened.rows = read_input(source, tasks, output.key, on_bad)
    check_columns(output.kind, opened.rows, output.key)
    if rank_from_environment() == 0:
        opened.kept = _kept(opened, output, stack)
    return opened


def _kept(opened: _Prediction, output: _Output, stack: ExitStack) -> KeptAnswers:
    """Where the first rank keeps answers; nothing that is there already is written over."""
    from ptv2_scale.inference.kept_answers import KeptAnswers, prediction_identity

    identity = prediction_identity(opened.exports, opened.rows)
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


def _answer(opened: _Prediction, output: _Output, ranks: RankContext) -> None:
    from ptv2_scale.distributed.leaders import on_first_rank
    from ptv2_scale.engine.serving import sharded_predictor
    from ptv2_scale.inference.forward import no_report
    from ptv2_scale.runtime.progress import Progress

    kept, rows = opened.kept, opened.rows
    done = on_first_rank(ranks, lambda: 0 if kept is None else kept.done)
    predictor = sharded_predictor(opened.exports, ranks)
    on_progress = no_report if kept is None else Progress("rows")
    on_progress(done, len(rows))
    for found in predictor.predict_parts(rows, done):
        first, done = done, done + len(next(iter(found.values())))
        if kept is not None:
            kept.add(found)
            _stream(rows[first:done], found, output)
        on_progress(done, len(rows))


def _stream(rows: Sequence[Row], found: Answers, output: _Output) -> None:
    """Write answers at once, where they go to standard output."""
    from ptv2_scale.inference.files import answered_rows
    from ptv2_scale.inference.row_files import write_rows

    if output.results is None:
        return
    try:
        write_rows(output.results, output.kind, answered_rows(rows, output.key, found))
    except OSError as error:
        raise UserError(f"{output.called}: cannot be written ({error.strerror}).") from None


def _finish(opened: _Prediction, kept: KeptAnswers, output: _Output) -> None:
    """Give the output its name, and say what became of all rows."""
    from ptv2_scale.inference.files import answered_rows
    from ptv2_scale.inference.row_files import write_rows

    found = kept.answers()
    if output.results is None:
        with new_file(output.path, output.called) as file:
            write_rows(file, output.kind, answered_rows(opened.rows, output.key, found))
        kept.remove()
    print(f"{len(opened.rows)} rows -> {output.path}", file=sys.stderr)
    if opened.problems:
        _say_skipped(opened.problems, output)
    _score(opened, found, output)


def _say_skipped(problems: Sequence[str], output: _Output) -> None:
    shown = problems if output.results is not None else problems[:_SHOWN]
    print(*(f"skipped: {problem}" for problem in shown), sep="\n", file=sys.stderr)
    if output.results is None:
        with new_file(output.skipped, str(output.skipped)) as file:
            file.write("".join(f"{problem}\n" for problem in problems).encode())
        print(f"{len(problems)} rows skipped -> {output.skipped}", file=sys.stderr)


def _score(opened: _Prediction, found: Answers, output: _Output) -> None:
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
    if scores and output.results is None:
        print(json.dumps({"rows": len(opened.rows), "metrics": scores}))
