"""The recipe that a command is given."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ptv2_scale.config import RunConfig, load_recipe
from ptv2_scale.demo import RECIPE as DEMO_RECIPE
from ptv2_scale.runtime.errors import UserError

if TYPE_CHECKING:
    from ptv2_scale.launchers.recipe_inputs import Inputs


def recipe_path(name: str) -> Path:
    """The file of a recipe; `demo` is the embedded one unless a file is called so."""
    return DEMO_RECIPE if name == "demo" and not Path(name).exists() else Path(name)


def load(arguments: argparse.Namespace) -> tuple[RunConfig, Path]:
    """A command's recipe with its overrides, and the run directory.

    Raises:
        UserError: the recipe is wrong, or gives no name for a run.
    """
    path = recipe_path(arguments.recipe)
    config = load_recipe(path, arguments.overrides)
    name = arguments.recipe if path == DEMO_RECIPE else path.stem
    if config.run is None and name in ("", ".", ".."):
        raise UserError(f"{path}: its name gives none for a run directory; set run=PATH.")
    return config, Path(config.run or Path("runs") / name)


def inputs(config: RunConfig, recipe: str) -> Inputs:
    """What a recipe reads; see `ptv2_scale.launchers.recipe_inputs`."""
    from ptv2_scale.launchers.recipe_inputs import inputs_of

    return inputs_of(config, recipe_path(recipe))
