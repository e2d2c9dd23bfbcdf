"""The commands `runs` and `plot`: runs listed, compared, cleaned up after, and drawn."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.exit_codes import DONE

_FOLDER = Path("runs")


def add_runs(command: argparse.ArgumentParser) -> None:
    """Give the command its arguments."""
    command.add_argument(
        "words", nargs="*", metavar="[compare|clean] [FOLDER ...]",
        help="FOLDER (default: runs): the runs in it as a table; compare FOLDER ...: what sets"
        " these runs apart, recipes beside scores; clean FOLDER ...: remove what they left that"
        " nobody needs",
    )  # fmt: skip
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")
    clean = command.add_argument_group("runs clean")
    clean.add_argument("--yes", action="store_true", help="remove without asking")
    clean.add_argument(
        "--also", action="append", default=[], choices=("best", "export"),
        help="of ended runs also the best checkpoint, or the export, which stay otherwise",
    )  # fmt: skip


def add_plot(command: argparse.ArgumentParser) -> None:
    """Give the command `plot` its arguments."""
    command.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directories")
    command.add_argument(
        "--output", required=True, type=Path, metavar="FILE.png|svg", help="the picture"
    )
    command.add_argument(
        "--overwrite", action="store_true", help="write it also where a file is already"
    )


def plot(arguments: argparse.Namespace) -> int:
    """Draw loss, metrics and learning rate of runs by step, all runs in one picture."""
    from ptv2_scale.history.curves import curves_of
    from ptv2_scale.history.plot import draw_runs
    from ptv2_scale.history.runs import named_runs
    from ptv2_scale.runtime.atomic import write_new

    output: Path = arguments.output
    if output.suffix not in _PICTURES:
        raise UserError(f"--output {output}: the kind '{output.suffix}' is not one of .png, .svg.")
    drawn = draw_runs(curves_of(named_runs(arguments.runs)), _PICTURES[output.suffix])
    write_new(output, drawn, f"--output {output}", overwrite=arguments.overwrite)
    print(output)
    return DONE


def runs(arguments: argparse.Namespace) -> int:
    """List, compare or clean up the runs in a folder."""
    words: list[str] = arguments.words
    action = _ACTIONS.get(words[0]) if words else None
    folders = [Path(word) for word in (words if action is None else words[1:])]
    return (action or _list)(folders or [_FOLDER], arguments)


def _list(folders: Sequence[Path], arguments: argparse.Namespace) -> int:
    from ptv2_scale.history.runs import find_runs
    from ptv2_scale.history.tables import run_json, run_table

    found = sorted(find_runs(folders), key=lambda run: run.changed)
    if arguments.json:
        print(json.dumps([run_json(run) for run in found], indent=1, allow_nan=False))
    else:
        print(run_table(found) if found else f"no runs in {' '.join(map(str, folders))}")
    return DONE


def _compare(folders: Sequence[Path], arguments: argparse.Namespace) -> int:
    from ptv2_scale.history.runs import find_runs
    from ptv2_scale.history.tables import comparison_table, differences, run_json

    found = find_runs(folders)
    if arguments.json:
        runs = [run_json(run) for run in found]
        print(json.dumps({"differences": differences(found), "runs": runs}, indent=1))
    elif found:
        print(comparison_table(found))
    return DONE


def _clean(folders: Sequence[Path], arguments: argparse.Namespace) -> int:
    from ptv2_scale.history.cleaning import leftovers, remove
    from ptv2_scale.history.runs import find_runs

    found = leftovers(find_runs(folders), arguments.also)
    if arguments.json:
        print(json.dumps([one.to_json() for one in found], indent=1))
    else:
        for one in found:
            print(f"{one.path}  {_size(one.nbytes)}  {one.reason}")
    whole = f"{len(found)} folders, {_size(sum(one.nbytes for one in found))}"
    if not found or not (arguments.yes or _agreed(whole)):
        print(f"nothing is removed; it would be {whole}", file=sys.stderr)
        return DONE
    remove(found)
    print(f"removed: {whole}", file=sys.stderr)
    return DONE


def _agreed(what: str) -> bool:
    """Ask on a terminal; where there is none, only --yes says so."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        print("without a terminal: give --yes to remove them", file=sys.stderr)
        return False
    print(f"Remove {what}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _size(nbytes: int) -> str:
    return f"{nbytes / 2**20:.2f} MiB"


_PICTURES: Mapping[str, Literal["png", "svg"]] = {".png": "png", ".svg": "svg"}
_ACTIONS: Mapping[str, Callable[[Sequence[Path], argparse.Namespace], int]] = {
    "compare": _compare,
    "clean": _clean,
}
