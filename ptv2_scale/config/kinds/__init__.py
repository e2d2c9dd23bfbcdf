"""The section `task` of a recipe: one model a kind of task."""

from ptv2_scale.config.kinds.classification import Classification

__all__ = ["Classification"]
