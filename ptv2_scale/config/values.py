"""Types of a recipe's values, and what all its sections share."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, TypeVar

from pydantic import AfterValidator, ConfigDict, Field

from ptv2_scale.runtime.paths import expand_path

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
# Every key that names a file or folder is of this type, and none else.
PathText = Annotated[Text, AfterValidator(expand_path)]
Count = Annotated[int, Field(ge=1), AfterValidator(_countable)]
# A step's examples are dealt out one by one, in memory.
Batch = Annotated[int, Field(ge=1, le=2**20)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Duration = Annotated[str, Field(pattern=r"^[0-9]{1,6}(\.[0-9]{1,3})?[smhd]$", examples=["30m"])]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(duration: str) -> float:
    """Seconds of a duration such as "90s", "30m", "23.5h" or "2d"."""
    return float(duration[:-1]) * _SECONDS[duration[-1]]
