"""The command `recipes`: what travels with the package, listed and copied."""

from __future__ import annotations

import argparse
from pathlib import Path

from ptv2_scale.config.catalogue import copy, find, overview


def add_recipes(command: argparse.ArgumentParser) -> None:
    """Give the command its own commands: without one it lists."""
    inner = command.add_subparsers(metavar="[copy NAME [TARGET]]")
    text = "Copy a recipe, a launch script or a whole folder; nothing is overwritten."
    copying = inner.add_parser("copy", help=text, description=text)
    copying.add_argument(
        "name", metavar="NAME",
        help="minilm-rte, paper/glm-10b/rte, launch/local.sh; or a folder: paper/glm-10b, docs",
    )  # fmt: skip
    copying.add_argument(
        "target", metavar="TARGET", nargs="?", type=Path,
        help="name of the copy, or the folder to put it into; default: recipes/NAME.yaml (or"
        " launch/NAME), as the commands in the first lines of each file expect",
    )  # fmt: skip
    copying.set_defaults(action=copy_recipe)


def recipes(arguments: argparse.Namespace) -> int:
    """List the recipes and launch scripts that come with this package, or copy one."""
    shown = overview()
    width = max(len(one.name) for one in shown)
    for one in shown:
        print(f"{one.name:<{width}}  {one.title}")
    print("\nCopy one, or a whole folder: ptv2-scale recipes copy NAME [TARGET]")
    return 0


def copy_recipe(arguments: argparse.Namespace) -> int:
    """Copy a recipe, a launch script or a folder of them."""
    print(copy(find(arguments.name), arguments.target))
    return 0
