"""The section `prompt` of a recipe that trains the head alone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ptv2_scale.config.prompt import METHODS, MethodSection


@METHODS.add
class HeadOnly(MethodSection):
    """No prompt: the task's head alone is trained."""

    method: Literal["none"] = Field(description="What is trained: no prompt, the head alone.")
