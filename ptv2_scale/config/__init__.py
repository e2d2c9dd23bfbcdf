"""Recipes: the settings of a run, checked, with every mistake named by file, line and key."""

from ptv2_scale.config.kinds import (
    Choice,
    Classification,
    Multi,
    Regression,
    Span,
    Tagging,
    TextToText,
)
from ptv2_scale.config.load import (
    backbone_override,
    backbone_section,
    dump_recipe,
    load_recipe,
    override,
)
from ptv2_scale.config.methods import (
    Discrete,
    FullTuning,
    HeadOnly,
    Lora,
    Prefix,
    PromptTuning,
    PTuning,
)
from ptv2_scale.config.prompt import METHODS, MethodSection
from ptv2_scale.config.recipe import (
    Backbone,
    Checkpoint,
    Evaluate,
    RunConfig,
    Train,
    Watchdog,
    register_section,
)
from ptv2_scale.config.section import Section, Variants
from ptv2_scale.config.slurm import Slurm
from ptv2_scale.config.task import SINGLE_TASKS, TASKS, AnyTask, Quoting, TaskSection

__all__ = [
    "METHODS",
    "SINGLE_TASKS",
    "TASKS",
    "AnyTask",
    "Backbone",
    "Checkpoint",
    "Choice",
    "Classification",
    "Discrete",
    "Evaluate",
    "FullTuning",
    "HeadOnly",
    "Lora",
    "MethodSection",
    "Multi",
    "PTuning",
    "Prefix",
    "PromptTuning",
    "Quoting",
    "Regression",
    "RunConfig",
    "Section",
    "Slurm",
    "Span",
    "Tagging",
    "TextToText",
    "TaskSection",
    "Train",
    "Variants",
    "Watchdog",
    "backbone_override",
    "backbone_section",
    "dump_recipe",
    "load_recipe",
    "override",
    "register_section",
]
