"""The section `prompt` of a recipe: one model a method."""

from ptv2_scale.config.methods.discrete import Discrete
from ptv2_scale.config.methods.full import FullTuning
from ptv2_scale.config.methods.head_only import HeadOnly
from ptv2_scale.config.methods.lora import Lora
from ptv2_scale.config.methods.prefix import Prefix
from ptv2_scale.config.methods.prompt import PromptTuning
from ptv2_scale.config.methods.ptuning import PTuning

__all__ = ["Discrete", "FullTuning", "HeadOnly", "Lora", "Prefix", "PTuning", "PromptTuning"]
