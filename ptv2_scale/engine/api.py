"""Training as a function: `ptv2_scale.train`, and what the command line's `train` calls too."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed
from tqdm import tqdm

from ptv2_scale.config import RunConfig
from ptv2_scale.config.locate import load_run
from ptv2_scale.distributed.accelerator import choose_accelerator
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.rank_env import rank_env
from ptv2_scale.runtime.result import Result
from ptv2_scale.watch.base import Watch
from ptv2_scale.watch.in_process import InProcessWatch

_running = threading.Lock()


def train(
    recipe: str | Path | RunConfig,
    overrides: Sequence[str] = (),
    *,
    resume: str | Path = "never",
) -> Result:
    """Train a recipe in this process, as its only rank: evaluate, save, export.

    It does what `ptv2-scale train` does, bit for bit, in a program that goes on afterwards. While
    it runs, the first Ctrl-C (SIGINT) asks for a stop at the next step, with everything saved, and
    `resume="auto"` continues from there; a second one raises KeyboardInterrupt at once. From a
    thread other than the main one it works too, but Ctrl-C then is not its to take. Signal
    handlers, environment, random states, number of CPU threads, and PyTorch's process group are
    afterwards as they were; memory and open files are given back. Several ranks are started by
    `ptv2-scale launch`.

    Examples:
        >>> import ptv2_scale
        >>> few = ["train.epochs=null", "train.steps=4", "train.head_only_baseline=false"]
        >>> result = ptv2_scale.train("demo", [*few, "run=runs/four-steps"])
        >>> result.metric, result.steps
        ('accuracy', 4)

    Args:
        recipe: a recipe's YAML file, "demo", or a recipe that was loaded.
        overrides: keys set anew, such as "train.lr=1e-2"; "run=PATH" names the run directory.
        resume: "never" wants a run directory that is new or empty; "auto" continues from the newest
            checkpoint, if any; else the path of a checkpoint.

    Returns:
        What the run reached, as in `RUN/result.json`.

    Raises:
        UserError: recipe, data or run directory are wrong, or this process trains already.
        ptv2_scale.Stopped: the run was stopped by SIGINT or `train.time_limit`.
    """
    if not _running.acquire(blocking=False):
        raise UserError("train: another thread of this process trains; wait until it has ended.")
    try:
        with _process_restored():
            _check_alone()
            loaded = load_run(recipe, overrides)
            choose_accelerator()
            return train_rank(lambda: loaded, str(resume), InProcessWatch())[0]
    finally:
        _running.release()
        gc.collect()  # an engine is full of cycles, and its memory is the next run's


def train_rank(
    load: Callable[[], tuple[RunConfig, Path]], resume: str, watch: Watch
) -> tuple[Result, Path]:
    """Be one rank of a run's training.

    Args:
        load: finds the recipe and the run directory.
        resume: "never", "auto" or the path of a checkpoint.
        watch: what watches this process meanwhile.

    Returns:
        What the run reached, the same on every rank, and the run directory.

    Raises:
        UserError: see `run_distributed`.
        Stopped: see `run_distributed`.
    """
    # Not earlier: DeepSpeed reads the environment when it is imported.
    from ptv2_scale.checkpoint.resume import unlock_runs
    from ptv2_scale.engine.automatic import resolve
    from ptv2_scale.engine.memory_check import check_memory
    from ptv2_scale.engine.opened import Opened, open_recipe
    from ptv2_scale.engine.run import Run
    from ptv2_scale.engine.session import run_distributed

    def prepare(config: RunConfig, run: Path, ranks: RankContext) -> tuple[Opened, Path]:
        opened = open_recipe(resolve(config, run, resume, ranks))
        check_memory(opened.setup, opened.chosen, ranks)
        return opened, run

    def action(ranks: RankContext, prepared: tuple[Opened, Path]) -> tuple[Result, Path]:
        opened, run = prepared
        return Run(opened, run, resume, ranks, watch).train(), run

    try:
        return run_distributed(load, prepare, action, watch)
    finally:
        unlock_runs()


def _check_alone() -> None:
    place = rank_env(os.environ)
    if place is not None and place.world > 1:
        raise UserError(
            f"train: the environment says that this process is rank {place.rank} of {place.world};"
            " it trains in one process. Start several ranks with `ptv2-scale launch`."
        )
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        raise UserError(
            "train: this process has a process group of torch.distributed already; end it first"
            " with torch.distributed.destroy_process_group()."
        )


@contextmanager
def _process_restored() -> Iterator[None]:
    """What a run changes of its process, as it was before."""
    environ, threads, monitor = dict(os.environ), torch.get_num_threads(), tqdm.monitor
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    finally:
        torch.set_num_threads(threads)
        os.environ.clear()
        os.environ.update(environ)
        if monitor is None and tqdm.monitor is not None:
            tqdm.monitor.exit()  # a thread
            tqdm.monitor = None
