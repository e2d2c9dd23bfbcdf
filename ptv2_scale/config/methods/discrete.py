"""The section `prompt` of a recipe that trains nothing at all."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ptv2_scale.config.prompt import METHODS, MethodSection


@METHODS.add
class Discrete(MethodSection):
    """A prompt of words alone: the backbone answers a pattern as it was pretrained."""

    method: Literal["discrete"] = Field(
        description="What is trained: nothing; task.head: verbalizer answers by a pattern's words."
    )
