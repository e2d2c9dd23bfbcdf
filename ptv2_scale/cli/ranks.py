"""Commands that every rank of a run runs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ptv2_scale.cli.recipe import load
from ptv2_scale.config import RunConfig, override
from ptv2_scale.runtime import rank_output
from ptv2_scale.runtime.exit_codes import DONE
from ptv2_scale.runtime.extensions import load_extensions
from ptv2_scale.runtime.rank_env import rank_from_environment, world_from_environment

if TYPE_CHECKING:
    from ptv2_scale.distributed.ranks import RankContext
    from ptv2_scale.inference.exported import Export

T = TypeVar("T")


def train(arguments: argparse.Namespace) -> int:
    """Train a recipe in this process, or as one rank of a launcher; evaluate and export it."""
    rank = rank_from_environment()
    rank_output.redirect(rank)
    loaded = early(lambda: load(arguments))
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

    def prepare(config: RunConfig, _: None, ranks: RankContext) -> Export:
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
            if not arguments.json:
                print("\n".join([*about, said]), file=sys.stderr)

    def find() -> tuple[RunConfig, None]:
        card = card_of_part(read_card(source), arguments.task)
        return override(card.config(), arguments.overrides), None

    run_distributed(early(find), prepare, action, ThreadWatch(graceful=False))
    return DONE


def early(find: Callable[[], T]) -> Callable[[], T]:
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
