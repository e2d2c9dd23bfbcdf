"""A recipe by the name that a command is given: its file, its settings, its run directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ptv2_scale.config.load import load_recipe
from ptv2_scale.config.recipe import RunConfig
from ptv2_scale.demo import RECIPE as DEMO_RECIPE
from ptv2_scale.runtime.errors import UserError


def recipe_path(name: str) -> Path:
    """The file of a recipe; `demo` is the embedded one unless a file is called so."""
    return DEMO_RECIPE if name == "demo" and not Path(name).exists() else Path(name)


def load_run(recipe: str, overrides: Sequence[str]) -> tuple[RunConfig, Path]:
    """A recipe with its overrides, and the run directory.

    Args:
        recipe: YAML file, or `demo`.
        overrides: `key=value` texts.

    Raises:
        UserError: the recipe is wrong, or gives no name for a run.
    """
    path = recipe_path(recipe)
    config = load_recipe(path, list(overrides))
    name = recipe if path == DEMO_RECIPE else path.stem
    if config.run is None and name in ("", ".", ".."):
        raise UserError(f"{path}: its name gives none for a run directory; set run=PATH.")
    return config, Path(config.run or Path("runs") / name)
