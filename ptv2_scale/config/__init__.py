"""Recipes: what a run is told, checked, with every mistake named by file, line and key."""

from ptv2_scale.config.load import dump_recipe, load_recipe, override
from ptv2_scale.config.prompt import HeadOnly, Prefix, Prompt
from ptv2_scale.config.recipe import (
    Backbone,
    Checkpoint,
    Evaluate,
    RunConfig,
    Task,
    Train,
    Watchdog,
)
from ptv2_scale.config.slurm import Slurm

__all__ = [
    "Backbone",
    "Checkpoint",
    "Evaluate",
    "HeadOnly",
    "Prefix",
    "Prompt",
    "RunConfig",
    "Slurm",
    "Task",
    "Train",
    "Watchdog",
    "dump_recipe",
    "load_recipe",
    "override",
]
