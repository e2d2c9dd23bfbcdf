"""The command `sweep`: many runs, how far they are, their report, and failed ones once more."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from ptv2_scale.runtime.errors import printable
from ptv2_scale.runtime.exit_codes import DONE, FAILED, SAVED

if TYPE_CHECKING:
    from ptv2_scale.sweep.api import Sweep
    from ptv2_scale.sweep.schedule import Scheduler
    from ptv2_scale.sweep.state import Claimed, Ending, SweepState


def add_sweep(command: argparse.ArgumentParser) -> None:
    """Give the command its arguments."""
    command.add_argument(
        "what", nargs="?", default="run", choices=tuple(_ACTIONS),
        help="run (default): what is left of it, then its report; status: how far it is; report:"
        " its tables and figures, at any time; retry: failed trials again",
    )  # fmt: skip
    command.add_argument(
        "file", type=Path, metavar="SWEEP.yaml", help="the sweep's file, or `demo`"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="print the table of cells, and run nothing"
    )


def sweep(arguments: argparse.Namespace) -> int:
    """Run a grid or a search of recipes, each trial as a launch of its own."""
    from ptv2_scale.sweep.api import Sweep

    return _ACTIONS[arguments.what](Sweep.read(arguments.file), arguments)


def _run(asked: Sweep, arguments: argparse.Namespace) -> int:
    from ptv2_scale.sweep.overview import plan_table

    print(plan_table(asked.cells, asked.plans, asked.left_out), flush=True)
    if arguments.dry_run:
        return DONE
    scheduler = asked.scheduler(lambda state: _Progress(state, asked))
    _stop_on_signals(scheduler)
    whole = scheduler.run()
    code = _report(asked, scheduler.state)
    if whole:
        _write_report(asked, arguments)
        return code
    print("ptv2-scale: stopped, with everything saved. Run it again to go on.", file=sys.stderr)
    return SAVED


def _status(asked: Sweep, arguments: argparse.Namespace) -> int:
    _report(asked, asked.state())
    return DONE


def _write_report(asked: Sweep, arguments: argparse.Namespace) -> int:
    from ptv2_scale.sweep.report import write_report

    folder = asked.file.folder / "report"
    write_report(asked.state().load(), folder, asked.file.name)
    print(folder / "report.html", *sorted(folder.glob("*.[mc]*")), sep="\n")
    return DONE


def _retry(asked: Sweep, arguments: argparse.Namespace) -> int:
    print(f"{asked.state().retry(asked.cells)} failed trials wait again")
    return _run(asked, arguments)


def _report(asked: Sweep, state: SweepState) -> int:
    """Print how far each cell is, and what went wrong."""
    from ptv2_scale.sweep.overview import problems_of, progress_line, status_table

    records = state.load()
    print(status_table(records))
    at_once = asked.file.config.launch.at_once or 1
    print(*problems_of(records), progress_line(records, at_once), sep="\n", flush=True)
    return FAILED if any(one.state == "failed" for one in records) else DONE


class _Progress:
    """Prints each trial that ends, and how far the sweep is."""

    def __init__(self, state: SweepState, asked: Sweep) -> None:
        self._state, self._at_once = state, asked.file.config.launch.at_once or 1

    def __call__(self, trial: Claimed, ending: Ending | None) -> None:
        """Print what a trial has come to."""
        from ptv2_scale.sweep.overview import progress_line

        if ending is None:
            return
        name = f"{trial.cell.label} | {trial.run.name}"
        reason = f": {printable(ending.reason)}" if ending.reason else ""
        print(f"{ending.state}: {name}{reason}")
        print(f"  {progress_line(self._state.load(), self._at_once)}", flush=True)


def _stop_on_signals(scheduler: Scheduler) -> None:
    """The first SIGINT or SIGTERM has trials save; the next one ends this process."""

    def heard(number: int, frame: FrameType | None) -> None:
        scheduler.stop()
        for one in _SIGNALS:
            signal.signal(one, signal.SIG_DFL)

    for number in _SIGNALS:
        signal.signal(number, heard)


_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ACTIONS: Mapping[str, Callable[[Sweep, argparse.Namespace], int]] = {
    "run": _run,
    "status": _status,
    "report": _write_report,
    "retry": _retry,
}
