"""Commands that every rank of a run runs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from ptv2_scale.cli.recipe import load
from ptv2_scale.config import RunConfig, override
from ptv2_scale.runtime import rank_output
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.exit_codes import DONE
from ptv2_scale.runtime.extensions import load_extensions
from ptv2_scale.runtime.rank_env import rank_from_environment, world_from_environment

if TYPE_CHECKING:
    from ptv2_scale.distributed.ranks import RankContext
    from ptv2_scale.inference.exported import Export
    from ptv2_scale.inference.files import Predictions

    Opened = tuple[list[Export], Predictions, BinaryIO | None]


T = TypeVar("T")


def train(arguments: argparse.Namespace) -> int:
    """Train a recipe's prompt, evaluate it, export it."""
    rank = rank_from_environment()
    rank_output.redirect(rank)
    loaded = _early(lambda: load(arguments))
    from ptv2_scale.cli.summary import summary
    from ptv2_scale.engine.api import train_rank
    from ptv2_scale.launchers.restarts import resume_of
    from ptv2_scale.watch.thread import ThreadWatch

    resume = resume_of(arguments.resume, os.environ)
    result, path = train_rank(loaded, resume, ThreadWatch(graceful=True))
    if rank == 0:
        print(summary(result, path))
    return DONE


def evaluate(arguments: argparse.Namespace) -> int:
    """Score an export on a split of its task."""
    from ptv2_scale.cli.summary import verdict
    from ptv2_scale.engine.serving import sharded_predictor
    from ptv2_scale.engine.session import run_distributed
    from ptv2_scale.export.card import read_card
    from ptv2_scale.export.parts import card_of_part
    from ptv2_scale.inference.exported import open_export
    from ptv2_scale.watch.thread import ThreadWatch

    source = Path(arguments.source)

    def prepare(config: RunConfig, _: None) -> Export:
        return open_export(source, arguments.backbone, arguments.overrides, arguments.task)

    def action(ranks: RankContext, export: Export) -> None:
        predictor = sharded_predictor([export], ranks)
        metrics, trivial = predictor.evaluate(export.name, arguments.split)
        name = export.setup.task.metric
        found = {"split": arguments.split, "metric": name, "value": metrics[name]}
        if ranks.first:
            known = {"trivial": trivial.value, "trivial_answer": trivial.answer}
            print(json.dumps({**found, **known, "metrics": metrics}))
            about = export.setup.task.describe()
            said = verdict(name, metrics[name], trivial.value, trivial.answer)
            print("\n".join([*about, said]), file=sys.stderr)

    def find() -> tuple[RunConfig, None]:
        card = card_of_part(read_card(source), arguments.task)
        return override(card.config(), arguments.overrides), None

    run_distributed(_early(find), prepare, action, ThreadWatch(graceful=False))
    return DONE


def predict(arguments: argparse.Namespace) -> int:
    """Answer the rows of a file with one or more exports."""
    from ptv2_scale.engine.serving import sharded_predictor
    from ptv2_scale.engine.session import run_distributed
    from ptv2_scale.export.card import read_card
    from ptv2_scale.inference.exported import open_export
    from ptv2_scale.inference.files import predictions, submission, write_lines
    from ptv2_scale.inference.predictor import check_one_task
    from ptv2_scale.runtime.atomic import begun_file, made_folder
    from ptv2_scale.watch.thread import ThreadWatch

    source, output, board = Path(arguments.input), Path(arguments.output), arguments.format
    if board != "jsonl" and arguments.key:
        raise UserError(f"--key: names a place in JSONL, which --format {board} does not write.")
    key = arguments.key or ("prediction" if len(arguments.sources) == 1 else "predictions")

    def find() -> tuple[RunConfig, None]:
        return read_card(Path(arguments.sources[0])).config(), None

    with ExitStack() as stack:

        def plan(exports: list[Export]) -> Predictions:
            tasks = [export.setup.task for export in exports]
            if board == "jsonl":
                return predictions(source, output, tasks, key)
            return submission(source, output, tasks, board)

        def prepare(config: RunConfig, _: None) -> Opened:
            exports = [
                open_export(Path(one), arguments.backbone, task=arguments.task)
                for one in arguments.sources
            ]
            for export in exports:
                check_one_task(export)
            planned, file = plan(exports), None
            if rank_from_environment() == 0:
                if board != "jsonl":
                    made_folder(output, "--output")
                file = stack.enter_context(begun_file(planned.path, f"--output {planned.path}"))
            return exports, planned, file

        def action(ranks: RankContext, opened: Opened) -> None:
            exports, planned, file = opened
            predictor = sharded_predictor(exports, ranks)
            found = {name: predictor.predict(planned.rows, name) for name in predictor.names}
            if file is not None:
                write_lines(file, planned.lines(found))
                stack.close()  # the file takes its name
                print(f"{len(planned.rows)} rows -> {planned.path}", file=sys.stderr)

        run_distributed(_early(find), prepare, action, ThreadWatch(graceful=False))
    return DONE


def _early(find: Callable[[], T]) -> Callable[[], T]:
    """Find now what takes no time, before the libraries that take seconds.

    Returns:
        What gives it; among several ranks a mistake is raised there, once they can hear of it.
    """
    found: list[T] = []

    def again() -> T:
        load_extensions()
        return found[0] if found else find()

    with suppress(*() if world_from_environment() == 1 else (Exception,)):
        found.append(again())
    return again
