"""A recipe by what users call it: a file, `demo`, or a recipe that was loaded already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ptv2_scale.config.load import load_recipe, override
from ptv2_scale.config.recipe import RunConfig
from ptv2_scale.demo import RECIPE as DEMO_RECIPE
from ptv2_scale.runtime.errors import UserError


def recipe_path(name: str) -> Path:
    """The file of a recipe; `demo` is the embedded one unless a file is called so."""
    return DEMO_RECIPE if name == "demo" and not Path(name).exists() else Path(name)


def load_run(
    recipe: str | Path | RunConfig, overrides: Sequence[str] = ()
) -> tuple[RunConfig, Path]:
    """A recipe with its overrides, and its run directory.

    Args:
        recipe: the YAML file, "demo", or a recipe.
        overrides: "section.key=value", the value being YAML.

    Returns:
        The recipe, and the path that `run` names, or else `runs/` and the recipe's name.

    Raises:
        UserError: the recipe is wrong, or gives no name for a run.
    """
    if isinstance(recipe, RunConfig):
        config, name, source = override(recipe, overrides), "", "the recipe"
    else:
        path = recipe_path(str(recipe))
        config = load_recipe(path, overrides)
        name, source = str(recipe) if path == DEMO_RECIPE else path.stem, str(path)
    if config.run is None and name in ("", ".", ".."):
        raise UserError(f"{source}: its name gives none for a run directory; set run=PATH.")
    return config, Path(config.run or Path("runs") / name)
