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
from ptv2_scale.runtime import rank_output as output
from ptv2_scale.runtime.exit_codes import DONE
from ptv2_scale.runtime.extensions import load_extensions
from ptv2_scale.runtime.rank_env import rank_from_environment, world_from_environment

if TYPE_CHECKING:
    from ptv2_scale.distributed.ranks import RankContext


T = TypeVar("T")


def train(arguments: argparse.Namespace) -> int:
    """Train a recipe's prompt, evaluate it, export it."""
    rank = rank_from_environment()
    output.redirect(rank)
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
    from ptv2_scale.inference.exported import Export, open_export
    from ptv2_scale.watch.thread import ThreadWatch

    source = Path(arguments.source)

    def prepare(config: RunConfig, _: None) -> Export:
        return open_export(source, arguments.backbone, arguments.overrides)

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
        return override(read_card(source).config(), arguments.overrides), None

    run_distributed(_early(find), prepare, action, ThreadWatch(graceful=False))
    return DONE


def predict(arguments: argparse.Namespace) -> int:
    """Label the rows of a JSONL file with one or more exports."""
    from ptv2_scale.data.rows import Row
    from ptv2_scale.engine.serving import sharded_predictor
    from ptv2_scale.engine.session import run_distributed
    from ptv2_scale.export.card import read_card
    from ptv2_scale.inference.exported import Export, open_export
    from ptv2_scale.inference.files import read_input, write_predictions
    from ptv2_scale.runtime.atomic import begun_file
    from ptv2_scale.watch.thread import ThreadWatch

    output = Path(arguments.output)
    key = arguments.key or ("prediction" if len(arguments.sources) == 1 else "predictions")

    def find() -> tuple[RunConfig, None]:
        return read_card(Path(arguments.sources[0])).config(), None

    with ExitStack() as stack:

        def prepare(config: RunConfig, _: None) -> tuple[list[Export], list[Row], BinaryIO | None]:
            file = None
            with ExitStack() as begun:  # removed again where something else is wrong
                if rank_from_environment() == 0:
                    file = begun.enter_context(begun_file(output, f"--output {output}"))
                exports = [open_export(Path(one), arguments.backbone) for one in arguments.sources]
                tasks = [export.setup.task for export in exports]
                rows = read_input(Path(arguments.input), tasks, key)
                stack.push(begun.pop_all())
            return exports, rows, file

        def action(
            ranks: RankContext, opened: tuple[list[Export], list[Row], BinaryIO | None]
        ) -> None:
            exports, rows, file = opened
            predictor = sharded_predictor(exports, ranks)
            found = {name: predictor.predict(rows, name) for name in predictor.names}
            if file is not None:
                write_predictions(file, rows, key, found)
                stack.close()  # the file takes its name
                print(f"{len(rows)} rows -> {output}", file=sys.stderr)

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
