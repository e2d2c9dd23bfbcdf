"""Commands by which every rank answers the rows of a file."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ptv2_scale.cli.prediction import answer_rows, open_exports
from ptv2_scale.cli.ranks import early
from ptv2_scale.config import RunConfig
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.exit_codes import DONE
from ptv2_scale.runtime.rank_env import rank_from_environment

if TYPE_CHECKING:
    from ptv2_scale.distributed.ranks import RankContext
    from ptv2_scale.inference.exported import Export
    from ptv2_scale.tasks.base import Submission

    Opened = tuple[Export, Submission, BinaryIO | None]


BOARDS = ("glue", "superglue")
STRATEGY = ("num_beams", "length_penalty", "temperature", "top_k", "top_p", "seed")


def predict(arguments: argparse.Namespace) -> int:
    """Answer the rows of a file with one or more exports."""
    board = arguments.format
    if board not in BOARDS:
        several = len(arguments.sources) > 1
        answer_rows(arguments, arguments.key or ("predictions" if several else "prediction"))
        return DONE
    if arguments.key or arguments.on_bad_row == "skip":
        option = "--key" if arguments.key else "--on-bad-row skip"
        raise UserError(
            f"{option}: --format {board} writes the leaderboard's file, all rows in it."
        )
    if "-" in (arguments.input, arguments.output):
        raise UserError(f"--format {board}: reads the published file, and writes into a folder.")
    _submit(arguments)
    return DONE


def generate(arguments: argparse.Namespace) -> int:
    """Answer the rows of a file by texts, with one export or each row with its own."""
    from ptv2_scale.inference.writing import GenerationOptions
    from ptv2_scale.model.decoding import chosen_strategy

    # Before anything is loaded.
    strategy = chosen_strategy(**{name: getattr(arguments, name) for name in STRATEGY})
    texts = GenerationOptions(arguments.max_new_tokens, strategy)
    answer_rows(arguments, arguments.key or "prediction", texts)
    return DONE


def _submit(arguments: argparse.Namespace) -> None:
    """Answer a published file on all ranks; the first one writes what a leaderboard takes."""
    from ptv2_scale.engine.serving import sharded_predictor
    from ptv2_scale.engine.session import run_distributed
    from ptv2_scale.export.card import read_card
    from ptv2_scale.inference.files import submission, write_lines
    from ptv2_scale.runtime.atomic import begun_file, made_folder
    from ptv2_scale.watch.thread import ThreadWatch

    folder = Path(arguments.output)

    def find() -> tuple[RunConfig, None]:
        return read_card(Path(arguments.sources[0])).config(), None

    with ExitStack() as stack:

        def prepare(config: RunConfig, _: None, ranks: RankContext) -> Opened:
            exports, file = open_exports(arguments), None
            tasks = [export.setup.task for export in exports]
            asked = submission(Path(arguments.input), tasks, arguments.format)
            if rank_from_environment() == 0:
                made_folder(folder, "--output")
                path = folder / asked.file
                file = stack.enter_context(begun_file(path, f"--output {path}"))
            return exports[0], asked, file

        def action(ranks: RankContext, opened: Opened) -> None:
            export, asked, file = opened
            records = sharded_predictor([export], ranks).predict(asked.rows)
            if file is not None:
                write_lines(file, asked.lines(records))
                stack.close()  # the file takes its name
                print(f"{len(asked.rows)} rows -> {folder / asked.file}", file=sys.stderr)

        run_distributed(early(find), prepare, action, ThreadWatch(graceful=False))
