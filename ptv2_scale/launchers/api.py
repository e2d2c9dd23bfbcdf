"""`ptv2_scale.launch`: what `ptv2-scale launch` does, as a function of Python."""

from __future__ import annotations

import os

from ptv2_scale.config.locate import load_run, recipe_path
from ptv2_scale.launchers.backends.base import LaunchRequest
from ptv2_scale.launchers.backends.registry import host_backend, rank_backend
from ptv2_scale.launchers.events import (
    Control,
    Finished,
    HostWarning,
    OnEvent,
    Rendered,
    StopRequest,
    ignore,
)
from ptv2_scale.launchers.forwarded_env import stays_behind
from ptv2_scale.launchers.options import LaunchOptions
from ptv2_scale.launchers.request_check import check_request
from ptv2_scale.launchers.result import LaunchResult
from ptv2_scale.runtime.exit_codes import DONE
from ptv2_scale.runtime.launch_context import host_name


def launch(
    options: LaunchOptions, on_event: OnEvent | None = None, stop: StopRequest | None = None
) -> LaunchResult:
    """Train on the ranks of one host or many, restart after failures, and wait for the end.

    Nothing is printed, no signal handler is set, and a process may launch any number of times.

    Examples:
        >>> from ptv2_scale import LaunchOptions, launch
        >>> short = ("train.epochs=null", "train.steps=3", "train.head_only_baseline=false")
        >>> options = LaunchOptions("demo", (*short, "run=runs/three-steps"), nproc=2)
        >>> result = launch(options)
        >>> result.state, result.step
        ('done', 3)

    Args:
        options: what to run, and where.
        on_event: called with each event of `ptv2_scale.launchers.events`, in this thread; what it
            raises ends the ranks, which save before.
        stop: lets a signal handler or another thread ask the run to save and end.

    Returns:
        How the run ended. A run that failed, or whose input its ranks found wrong, raises nothing.

    Raises:
        UserError: options do not go together, a file that they or the recipe name is wrong, or the
            recipe cannot run on so many ranks; see `check_request`.
    """
    request, backend = open_request(options), host_backend(options)
    control = Control(on_event or ignore, stop or StopRequest())
    for text in stays_behind(os.environ) if options.slurm or options.hostfile else ():
        control.emit(HostWarning(host_name(), text))
    rendered = backend.render(request)  # first: options that do not go together are refused
    slots = backend.slots(request)
    check_request(request, slots)
    if options.dry_run:
        control.emit(Rendered(rendered, slots))
        result = LaunchResult(DONE, "rendered", request.run)
    else:
        result = backend.run(request, control)
    control.emit(Finished(result))
    return result


def open_request(options: LaunchOptions) -> LaunchRequest:
    """Find what a launch names: its recipe, its run directory, the launcher of its ranks.

    Raises:
        UserError: there is no such launcher, or the recipe is wrong.
    """
    ranks = rank_backend(options.backend)
    config, run = load_run(options.recipe, [*options.overrides, *options.slurm_overrides])
    return LaunchRequest(options, config, recipe_path(options.recipe), run, ranks)
