"""What a launch refuses before anything is started, rendered or queued."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from ptv2_scale.checkpoint.run_directory import check_directory
from ptv2_scale.config import RunConfig
from ptv2_scale.config.locate import load_run
from ptv2_scale.launchers.array import read_trials
from ptv2_scale.launchers.backends.base import LaunchRequest
from ptv2_scale.model.readiness import (
    RankCounts,
    check_files,
    check_recipe,
    is_here,
    open_ready,
)
from ptv2_scale.runtime.errors import UserError


def check_request(request: LaunchRequest, slots: Collection[int]) -> None:
    """Refuse a launch whose ranks would refuse its recipe; of a job array, each run's recipe.

    A hostfile's hosts may have files that this one has not; the doctor asks them. A batch job is
    checked on this host unless the user wants no doctor.

    Args:
        request: the launch.
        slots: ranks of each host.

    Raises:
        UserError: names what is wrong, and of an array the run.
    """
    ranks, seen = RankCounts.of(slots), set[str]()
    for run, config, path in _configs(request):
        try:
            _check_directory(request, path)
            _check(request, config, ranks, seen)
        except UserError as error:
            raise UserError(f"{run}{error}") from None


def _configs(request: LaunchRequest) -> Iterator[tuple[str, RunConfig, Path]]:
    """How messages about each run begin, its recipe, and its directory."""
    options = request.options
    if options.array is None:
        yield "", request.config, request.run
        return
    own = [*options.overrides, *options.slurm_overrides]
    for number, words in enumerate(read_trials(options.array, request.run), start=1):
        run = f"{options.array}, run {number} ({' '.join(words)}): "
        try:
            config, path = load_run(options.recipe, [*own, *words])
        except UserError as error:
            raise UserError(f"{run}{error}") from None
        yield run, config, path


def _check_directory(request: LaunchRequest, path: Path) -> None:
    """Refuse a run directory that ranks would refuse, as far as this host sees it."""
    options = request.options
    # A host that comes back to ranks that torchrun restarts finds their directory, as it should.
    if options.slurm or not request.ranks.elastic or (options.nodes or 1) == 1:
        check_directory(path, options.resume)


def _check(request: LaunchRequest, config: RunConfig, ranks: RankCounts, seen: set[str]) -> None:
    check_recipe(config, ranks)
    options = request.options
    elsewhere = options.hostfile is not None or (options.slurm and not options.doctor)
    if not elsewhere:
        offline = options.slurm or (options.nodes or 1) > 1 or os.environ.get("HF_HUB_OFFLINE")
        check_files(config, offline=offline not in (False, None, "", "0"))
    # Runs of an array share what takes long to open.
    opened = repr((config.backbone, config.prompt, config.task))
    if opened not in seen and is_here(config):
        open_ready(config, ranks)
        seen.add(opened)
