"""The section `prompt` of a recipe: one model a method."""

from ptv2_scale.config.methods.head_only import HeadOnly
from ptv2_scale.config.methods.prefix import Prefix

__all__ = ["HeadOnly", "Prefix"]
