"""The section `prompt` of a recipe for LoRA."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ptv2_scale.config.prompt import METHODS, MethodSection
from ptv2_scale.config.values import Fraction, Text, unique

_Names = Annotated[
    list[Text],
    Field(min_length=1, json_schema_extra={"uniqueItems": True}),
    AfterValidator(unique),
]


@METHODS.add
class Lora(MethodSection):
    """LoRA (Hu et al., 2022): trained low-rank terms beside linear layers, by PEFT."""

    method: Literal["lora"] = Field(
        description="What is trained: low-rank terms beside linear layers."
    )
    rank: Annotated[int, Field(ge=1, le=4096)] = Field(default=8, description="Rank of a term.")
    alpha: Annotated[float, Field(gt=0)] = Field(
        default=8.0, description="A term is scaled by alpha / rank."
    )
    dropout: Fraction = Field(default=0.0, description="Dropout on the input of a term.")
    target_modules: Literal["default"] | _Names = Field(
        default="default",
        description="Last names of the layers that get a term; default: PEFT's for the family.",
    )
    rslora: bool = Field(
        default=False, description="Scale by alpha / sqrt(rank) (Kalajdzievski, 2023)."
    )
