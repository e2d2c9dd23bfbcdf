"""Commands by which every rank answers the rows of a file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ptv2_scale.cli.prediction import open_exports, predict_rows
from ptv2_scale.cli.ranks import early
from ptv2_scale.config import RunConfig
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.exit_codes import DONE
from ptv2_scale.runtime.rank_env import rank_from_environment

if TYPE_CHECKING:
    from ptv2_scale.distributed.ranks import RankContext
    from ptv2_scale.inference.exported import Export
    from ptv2_scale.inference.files import Predictions
    from ptv2_scale.inference.predictor import Predictor
    from ptv2_scale.tasks.base import Record

    Opened = tuple[list[Export], Predictions, BinaryIO | None]
    Plan = Callable[[Sequence[Export]], Predictions]
    # Answers by each export's name, one a row.
    Answer = Callable[[Predictor, Predictions], Mapping[str, Sequence[Record]]]


BOARDS = ("glue", "superglue")
STRATEGY = ("num_beams", "length_penalty", "temperature", "top_k", "top_p", "seed")


def predict(arguments: argparse.Namespace) -> int:
    """Answer the rows of a file with one or more exports."""
    from ptv2_scale.inference.files import submission

    source, output, board = Path(arguments.input), Path(arguments.output), arguments.format
    if board not in BOARDS:
        return predict_rows(arguments)
    if arguments.key or arguments.on_bad_row == "skip":
        option = "--key" if arguments.key else "--on-bad-row skip"
        raise UserError(
            f"{option}: --format {board} writes the leaderboard's file, all rows in it."
        )

    if "-" in (arguments.input, arguments.output):
        raise UserError(f"--format {board}: reads the published file, and writes into a folder.")

    def plan(exports: Sequence[Export]) -> Predictions:
        return submission(source, output, [export.setup.task for export in exports], board)

    def answer(predictor: Predictor, planned: Predictions) -> dict[str, list[Record]]:
        return {name: predictor.predict(planned.rows, name) for name in predictor.names}

    _answer_file(arguments, plan, answer, folder=output)
    return DONE


def generate(arguments: argparse.Namespace) -> int:
    """Answer the rows of a file by texts, with one export or each row with its own."""
    from ptv2_scale.inference.files import generations
    from ptv2_scale.inference.forward import no_report
    from ptv2_scale.model.decoding import chosen_strategy
    from ptv2_scale.runtime.progress import Progress

    source, output, key = Path(arguments.input), Path(arguments.output), arguments.key
    strategy = {name: getattr(arguments, name) for name in STRATEGY}
    chosen_strategy(**strategy)  # before anything is loaded

    def plan(exports: Sequence[Export]) -> Predictions:
        return generations(source, output, exports, key)

    def answer(predictor: Predictor, planned: Predictions) -> dict[str, list[Record]]:
        on_progress = Progress("batches") if rank_from_environment() == 0 else no_report
        return {
            "": predictor.generate(
                planned.rows,
                max_new_tokens=arguments.max_new_tokens,
                **strategy,
                on_progress=on_progress,
            )
        }

    _answer_file(arguments, plan, answer)
    return DONE


def _answer_file(
    arguments: argparse.Namespace, plan: Plan, answer: Answer, folder: Path | None = None
) -> None:
    """Answer a file's rows on all ranks; the first one writes.

    Args:
        arguments: of the command.
        plan: what is read and written, from the opened exports.
        answer: the answers of all exports.
        folder: to be made for the output, where there is one.
    """
    from ptv2_scale.engine.serving import sharded_predictor
    from ptv2_scale.engine.session import run_distributed
    from ptv2_scale.export.card import read_card
    from ptv2_scale.inference.files import write_lines
    from ptv2_scale.runtime.atomic import begun_file, made_folder
    from ptv2_scale.watch.thread import ThreadWatch

    def find() -> tuple[RunConfig, None]:
        return read_card(Path(arguments.sources[0])).config(), None

    with ExitStack() as stack:

        def prepare(config: RunConfig, _: None, ranks: RankContext) -> Opened:
            exports = open_exports(arguments)
            planned, file = plan(exports), None
            if rank_from_environment() == 0:
                if folder is not None:
                    made_folder(folder, "--output")
                file = stack.enter_context(begun_file(planned.path, f"--output {planned.path}"))
            return exports, planned, file

        def action(ranks: RankContext, opened: Opened) -> None:
            exports, planned, file = opened
            found = answer(sharded_predictor(exports, ranks), planned)
            if file is not None:
                write_lines(file, planned.lines(found))
                stack.close()  # the file takes its name
                print(f"{len(planned.rows)} rows -> {planned.path}", file=sys.stderr)

        run_distributed(early(find), prepare, action, ThreadWatch(graceful=False))
