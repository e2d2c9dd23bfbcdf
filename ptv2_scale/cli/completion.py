"""The command `completion`: a script by which a shell completes commands, options and files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from ptv2_scale.runtime.errors import UserError

SHELLS = ("bash", "zsh", "tcsh")
# How each shell completes the name of a file, in shtab's notation.
_FILE = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}


def add_completion(command: argparse.ArgumentParser) -> None:
    """Give the command its arguments."""
    command.add_argument("shell", choices=SHELLS, help="the shell that the script is for")


def completion(arguments: argparse.Namespace) -> int:
    """Print a script that completes this command line in a shell."""
    from ptv2_scale.cli.grammar import parser

    try:
        import shtab
    except ImportError:
        raise UserError(
            "completion: shtab is not installed, which writes such scripts. Run: pip install"
            " 'ptv2_scale[completion]'"
        ) from None
    grammar = parser()
    for action in _free_arguments(grammar):
        action.complete = _FILE  # type: ignore[attr-defined]
    print(shtab.complete(grammar, shell=arguments.shell))
    return 0


def _free_arguments(grammar: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Arguments whose values are not chosen from a list, those of all commands included."""
    for action in grammar._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _free_arguments(inner)
        elif action.choices is None and action.nargs != 0:
            yield action
