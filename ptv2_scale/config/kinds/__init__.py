"""The section `task` of a recipe: one model a kind of task."""

from ptv2_scale.config.kinds.choice import Choice
from ptv2_scale.config.kinds.classification import Classification
from ptv2_scale.config.kinds.multi import Multi
from ptv2_scale.config.kinds.regression import Regression
from ptv2_scale.config.kinds.span import Span
from ptv2_scale.config.kinds.tagging import Tagging
from ptv2_scale.config.kinds.text import TextToText

__all__ = ["Choice", "Classification", "Multi", "Regression", "Span", "Tagging", "TextToText"]

# Its tasks may be of kinds that are registered after it.
Multi.model_rebuild(force=True)
