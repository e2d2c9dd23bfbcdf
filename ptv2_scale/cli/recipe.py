"""The recipe that a command is given."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ptv2_scale.config import RunConfig
from ptv2_scale.config.locate import load_run, recipe_path

if TYPE_CHECKING:
    from ptv2_scale.launchers.recipe_inputs import Inputs


def load(arguments: argparse.Namespace) -> tuple[RunConfig, Path]:
    """A command's recipe with its overrides, and the run directory; see `load_run`."""
    return load_run(arguments.recipe, arguments.overrides)


def inputs(config: RunConfig, recipe: str) -> Inputs:
    """What a recipe reads; see `ptv2_scale.launchers.recipe_inputs`."""
    from ptv2_scale.launchers.recipe_inputs import inputs_of

    return inputs_of(config, recipe_path(recipe))
