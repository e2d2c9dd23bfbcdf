"""Exports with the first values of their recipe, which no run has changed."""

from __future__ import annotations

from pathlib import Path

from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.config import load_recipe
from ptv2_scale.export.card import Card
from ptv2_scale.export.native import write_export
from ptv2_scale.model.setup import first_values, open_setup


def export_untrained(recipe: Path, folder: Path, *overrides: str) -> Path:
    """Write an export of a recipe as it is before the first step."""
    setup = open_setup(load_recipe(recipe, overrides))
    write_export(folder, Card.of(setup, {}), NamedTensors(first_values(setup)))
    return folder
