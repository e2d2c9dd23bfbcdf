"""The section `prompt` of a recipe for P-Tuning v2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from ptv2_scale.config.methods.prompt import PromptLength
from ptv2_scale.config.prompt import METHODS, MethodSection
from ptv2_scale.config.rules import Conflict, Partner, Partners
from ptv2_scale.config.values import Count, Fraction, PathText, Text, unique
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


@METHODS.add
class Prefix(MethodSection):
    """P-Tuning v2: trained keys and values in front of every layer's own."""

    PARTNERS: ClassVar[Partners] = {
        "hidden": Partner("encoder", "mlp"),
        "init_scale": Partner("init", "random"),
        "init_text": Partner("init", "text", needs=True),
        "init_from": Partner("init", "saved", needs=True),
    }

    method: Literal["prefix"] = Field(default="prefix", description="What is trained.")
    length: PromptLength = Field(default=20, description="Prefix tokens in every prompted layer.")
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
    dropout: Fraction = Field(default=0.1, description="Dropout on the prefix's keys and values.")
    init: Literal["random", "zero", "text", "saved"] = Field(
        default="random", description="First values of the prefix."
    )
    init_scale: Annotated[float, Field(gt=0)] = Field(
        default=0.02, description="Standard deviation of the first values; init: random only."
    )
    init_text: Text | None = Field(
        default=None, description="Text whose keys and values come first; init: text only."
    )
    init_from: PathText | None = Field(
        default=None, description="File or folder of a saved prefix; init: saved only."
    )
    frozen_tokens: Annotated[int, Field(ge=0)] = Field(
        default=0, description="First tokens of the prefix, which keep their first values."
    )
    parts: Literal["both", "values"] = Field(
        default="both",
        description="What is trained: keys and values, or values alone, beside their first keys.",
    )
    gate: bool = Field(
        default=False,
        description="Attend to the prefix apart, times a trained gate that is zero at first.",
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

    def files(self) -> dict[str, Path]:
        """See `MethodSection`."""
        return {} if self.init_from is None else {"saved prefix": Path(self.init_from)}

    @property
    def keeps_first_values(self) -> bool:
        """See `MethodSection`."""
        return bool(self.frozen_tokens) or self.parts == "values"

    def as_exported(self) -> Prefix:
        """An export holds the table that an MLP made."""
        return self if self.encoder == "table" else self.model_copy(update={"encoder": "table"})

    @classmethod
    def conflicts(cls, given: Mapping[str, Any]) -> Iterator[Conflict]:
        """See `Section`."""
        yield from super().conflicts(given)
        yield from cls._kept_conflicts(given)
        init = given.get("init")
        if given.get("encoder") == "mlp" and init in ("text", "saved"):
            yield Conflict(
                ("encoder", "init"),
                f"prompt.encoder and prompt.init contradict each other: init: {init} gives keys"
                " and values, which only a table can hold. Set encoder: table, or init: random.",
            )

        if given.get("gate") and init == "zero":
            yield Conflict(
                ("gate", "init"),
                "prompt.gate and prompt.init contradict each other: behind a gate of zero a prefix"
                " of zeros gets no gradient, and neither does its gate. Set another init.",
            )

    @classmethod
    def _kept_conflicts(cls, given: Mapping[str, Any]) -> Iterator[Conflict]:
        frozen, length = given.get("frozen_tokens"), given.get("length", cls.defaults()["length"])
        if isinstance(frozen, int) and isinstance(length, int) and frozen >= length:
            yield Conflict(
                ("length", "frozen_tokens"),
                f"prompt.frozen_tokens: found {frozen}, and prompt.length is {length}: no token"
                f" would be trained. Set prompt.frozen_tokens to {length - 1} at most.",
            )
        kept = [key for key, idle in (("frozen_tokens", 0), ("parts", "both"))
                if given.get(key, idle) != idle]  # fmt: skip
        if kept and given.get("encoder") == "mlp":
            yield Conflict(
                ("encoder", *kept),
                f"prompt.encoder and prompt.{kept[0]} contradict each other: an MLP that learns"
                " changes all that it makes, so nothing keeps its first values. Set encoder:"
                f" table, or remove {kept[0]}.",
            )
