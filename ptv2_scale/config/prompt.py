"""The section `prompt` of a recipe: what is put into the backbone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from ptv2_scale.config.rules import meaningful
from ptv2_scale.config.values import SETTINGS, Count, Share, Text, refuse_conflicts, unique
from ptv2_scale.runtime.errors import UserError


def _ascending(layers: str) -> str:
    first, last = map(int, layers.split("-"))
    if first > last:
        raise ValueError(f"a range goes up; write '{last}-{first}'")
    return layers


LayerRange = Annotated[
    str,
    Field(pattern=r"^[1-9][0-9]{0,5}-[1-9][0-9]{0,5}$", examples=["1-12"]),
    AfterValidator(_ascending),
]
_SEVERAL = Field(min_length=1, json_schema_extra={"uniqueItems": True})
LayerList = Annotated[list[Count], _SEVERAL, AfterValidator(unique)]
SlotList = Annotated[list[Literal["encoder", "decoder", "cross"]], _SEVERAL, AfterValidator(unique)]


class Prefix(BaseModel):
    """P-Tuning v2: trained keys and values in front of every layer's own."""

    model_config = SETTINGS

    method: Literal["prefix"] = Field(default="prefix", description="What is trained.")
    length: Annotated[int, Field(ge=1, le=512)] = Field(
        default=20, description="Prefix tokens in every prompted layer."
    )
    encoder: Literal["table", "mlp"] = Field(
        default="table", description="Where the prefix comes from: a table, or a two-layer MLP."
    )
    hidden: Annotated[int, Field(ge=1, le=2**16)] = Field(
        default=512, description="Width of the MLP's hidden layer; with encoder: mlp only."
    )
    layers: Literal["all"] | LayerRange | LayerList = Field(
        default="all", description="Prompted layers, counted from 1, both ends included."
    )
    slots: Literal["all"] | SlotList = Field(
        default="all", description="Prompted kinds of attention of an encoder-decoder."
    )
    dropout: Share = Field(default=0.1, description="Dropout on the prefix's keys and values.")
    init: Literal["random", "zero", "text", "saved"] = Field(
        default="random", description="First values of the prefix."
    )
    init_scale: Annotated[float, Field(gt=0)] = Field(
        default=0.02, description="Standard deviation of the first values; init: random only."
    )
    init_text: Text | None = Field(
        default=None, description="Text whose keys and values come first; init: text only."
    )
    init_from: Text | None = Field(
        default=None, description="File or folder of a saved prefix; init: saved only."
    )
    positions: Literal["shift", "keep"] = Field(
        default="shift", description="Whether the text's positions start after the prefix."
    )

    def layer_numbers(self, total: int) -> tuple[int, ...]:
        """Prompted layers, counted from 0, ascending.

        Args:
            total: layers that the backbone has.

        Raises:
            UserError: a layer is named that the backbone does not have.
        """
        if isinstance(self.layers, str):
            ends = f"1-{total}" if self.layers == "all" else self.layers
            first, last = map(int, ends.split("-"))
            numbers = list(range(first, min(last, total + 1) + 1))
        else:
            numbers = sorted(self.layers)
        if numbers and numbers[-1] > total:
            raise UserError(
                f"prompt.layers: found layer {numbers[-1]}, but the backbone has {total} layers."
                f" Allowed: all, or layers from 1 to {total}."
            )
        return tuple(number - 1 for number in numbers)

    @model_validator(mode="after")
    def _agree(self) -> Prefix:
        refuse_conflicts("prompt", self)
        return self

    @model_serializer(mode="wrap")
    def _meaningful(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return meaningful("prompt", write(self))


class HeadOnly(BaseModel):
    """No prompt: the task's head alone is trained."""

    model_config = SETTINGS

    method: Literal["none"] = Field(description="What is trained: no prompt, the head alone.")


def _method(prompt: object) -> str:
    if isinstance(prompt, Mapping):
        return "none" if prompt.get("method") == "none" else "prefix"
    return "none" if isinstance(prompt, HeadOnly) else "prefix"


Prompt = Annotated[
    Annotated[Prefix, Tag("prefix")] | Annotated[HeadOnly, Tag("none")], Discriminator(_method)
]
