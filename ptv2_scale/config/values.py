"""Types of a recipe's values, and what all its sections share."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from ptv2_scale.config.rules import conflicts

# Strict: YAML has types of its own, and `epochs: "10"` or `seed: true` are slips.
SETTINGS = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
MOST = 10**9
_Item = TypeVar("_Item")


def unique(items: list[_Item]) -> list[_Item]:
    """The items; ValueError if one comes twice."""
    for item, times in Counter(items).items():
        if times > 1:
            raise ValueError(f"{item!r} is named {times} times; once is enough")
    return items


def _countable(count: int) -> int:
    # Sums and shares of larger counts leave the range of floats.
    if count > MOST:
        raise ValueError(f"the most is {MOST}")
    return count


# A NUL in a path makes the operating system's calls raise ValueError.
Text = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")]
Count = Annotated[int, Field(ge=1), AfterValidator(_countable)]
# A step's examples are dealt out one by one, in memory.
Batch = Annotated[int, Field(ge=1, le=2**20)]
Share = Annotated[float, Field(ge=0, lt=1)]
Duration = Annotated[str, Field(pattern=r"^[0-9]{1,6}(\.[0-9]{1,3})?[smhd]$", examples=["30m"])]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(duration: str) -> float:
    """Seconds of a duration such as "90s", "30m", "23.5h" or "2d"."""
    return float(duration[:-1]) * _SECONDS[duration[-1]]


def refuse_conflicts(section: str, model: BaseModel) -> None:
    """Raise what a section of a recipe contradicts itself in, as pydantic wants it."""
    given = {key: getattr(model, key) for key in model.model_fields_set}
    found = [conflict.text for conflict in conflicts(section, given, defaults(type(model)))]
    if found:
        raise PydanticCustomError("conflict", "{text}", {"text": " ".join(found)})


def defaults(model: type[BaseModel]) -> dict[str, Any]:
    """Default of every key of a section; None where there is none."""
    fields = model.model_fields.items()
    return {key: None if field.is_required() else field.default for key, field in fields}
