"""The section `prompt` of a recipe for fine-tuning."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ptv2_scale.config.prompt import METHODS, MethodSection


@METHODS.add
class FullTuning(MethodSection):
    """Fine-tuning: every parameter of the backbone is trained."""

    TRAINS_BACKBONE: ClassVar[bool] = True

    method: Literal["full"] = Field(
        description="What is trained: every parameter of the backbone, without a prompt."
    )
