"""The models of a sweep file: every key with its type, range, default and description."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from ptv2_scale.config import Section
from ptv2_scale.config.rules import Conflict
from ptv2_scale.config.values import SETTINGS, Count, PathText, Text, unique

Scalar = bool | int | float | str | None
# A recipe's key may have any value; what it allows, the recipe's own model says.
Values = Annotated[list[Any], Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Name = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", examples=["paper-superglue"])
]


class Range(BaseModel):
    """Numbers that a search may choose."""

    model_config = SETTINGS

    low: int | float = Field(description="Smallest value.")
    high: int | float = Field(description="Largest value; two whole numbers: whole numbers only.")
    log: bool = Field(default=False, description="Choose evenly on a logarithmic scale.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        if self.log and self.low <= 0:
            raise ValueError("a logarithmic scale needs low above 0")
        return self


class Search(BaseModel):
    """A search inside each cell, by Optuna's TPE (Bergstra et al., 2011)."""

    model_config = SETTINGS

    trials: Count = Field(description="Runs of a cell that the search may make.")
    keys: Annotated[dict[str, Range | Values], Field(min_length=1)] = Field(
        description="Recipe keys to be searched: a range of numbers, or a list of values."
    )
    prune: Literal["none", "median", "asha"] = Field(
        default="none",
        description="Stop a run early that scores less than others of its cell at the same step:"
        " below their median, or by asynchronous successive halving.",
    )


class Choice(BaseModel):
    """One value of an axis that sets several keys: recipe keys, and what is tried with them."""

    model_config = ConfigDict(
        extra="allow",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        json_schema_extra={"additionalProperties": {}},
    )

    grid: dict[str, Values] | None = Field(
        default=None, description="Tried in these cells; a key here stands for the sweep's own."
    )
    search: Search | None = Field(
        default=None, description="Searched in these cells, instead of the sweep's own."
    )

    @property
    def sets(self) -> dict[str, Any]:
        """Values of recipe keys."""
        return dict(self.__pydantic_extra__ or {})


Axis = Annotated[dict[str, Choice], Field(min_length=1)] | Values


class Launch(Section):
    """Where trials run, and how many at a time."""

    SECTION: ClassVar[str] = "launch"
    EXCLUSIVE: ClassVar[tuple[tuple[str, ...], ...]] = (("hostfile", "slurm"),)

    at_once: Count | None = Field(
        default=None,
        description="Trials that run at the same time; null: one on this host, as many as a"
        " hostfile's hosts are enough for, all of a grid under Slurm.",
    )
    nproc: Count | None = Field(
        default=None, description="Ranks of a host and trial; null: one an accelerator."
    )
    hostfile: PathText | None = Field(
        default=None, description="File of hosts among which trials are dealt out."
    )
    hosts: Count = Field(default=1, description="Hosts of a trial, of those of the hostfile.")
    ssh_config: PathText | None = Field(
        default=None, description="Configuration file of ssh instead of ~/.ssh/config."
    )
    slurm: bool | None = Field(
        default=None, description="true: jobs of Slurm arrays, as the recipe's section slurm asks."
    )
    gpu_memory: Annotated[float, Field(gt=0, le=1e6)] | None = Field(
        default=None,
        description="Memory of each GPU in 10^9 bytes, which cells are to fit; null: that of this"
        " host's GPUs where trials run on it, else nothing is compared.",
    )
    does_not_fit: Literal["leave_out", "run"] = Field(
        default="leave_out",
        description="What to do with a cell whose estimated memory, less 10 %, is above that.",
    )
    max_restarts: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=2, description="Restarts of a trial after a rank or host failed."
    )
    doctor: bool = Field(default=True, description="Check hosts before ranks on several start.")

    @classmethod
    def conflicts(cls, given: Mapping[str, Any]) -> Iterator[Conflict]:
        """See `Section`: what is for a hostfile's hosts alone."""
        yield from super().conflicts(given)
        for key in ("hosts", "ssh_config"):
            if given.get(key) is not None and given.get("hostfile") is None:
                text = (
                    f"launch.{key}: is for a hostfile's hosts. Add launch.hostfile, or remove it."
                )
                yield Conflict((key,), text)
        if given.get("nproc") is not None and given.get("hostfile") is not None:
            text = "launch.nproc: a hostfile says how many ranks its hosts take. Remove it."
            yield Conflict(("nproc", "hostfile"), text)


class SweepConfig(BaseModel):
    """A sweep file: all of a sweep."""

    model_config = SETTINGS

    recipe: Text | dict[str, Any] = Field(
        description="What all runs have in common: a recipe's file beside this one, demo, or its"
        " sections themselves; {AXIS} in a file's name stands for the label on that axis."
    )
    name: Name | None = Field(default=None, description="Of the sweep; null: that of this file.")
    folder: PathText | None = Field(
        default=None, description="Folder of all its runs; null: runs/sweeps/NAME."
    )
    state: Text | None = Field(
        default=None,
        description="Where Optuna keeps its state: a URL, or a file: NAME.db for SQLite, NAME.log"
        " for Optuna's journal; null: FOLDER/sweep.db.",
    )
    set: dict[str, Any] = Field(
        default_factory=dict, description="Recipe keys that are set anew in all cells."
    )
    axes: dict[str, Axis] = Field(
        default_factory=dict,
        description="Cells of the sweep: all combinations of one value of each. A recipe key with"
        " a list of values, or a name with labels for keys that are set together.",
    )
    grid: dict[str, Values] = Field(
        default_factory=dict, description="Recipe keys that are tried in each cell, all values."
    )
    search: Search | None = Field(
        default=None, description="Recipe keys that are searched in each cell, instead of a grid."
    )
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(unique)] = Field(
        default_factory=lambda: [11],
        description="train.seed of runs that are otherwise alike. A search runs with the first one"
        " and makes its best run again with the others.",
    )
    launch: Launch = Field(
        default_factory=Launch, description="Where trials run, and how many at a time."
    )


def json_schema() -> dict[str, Any]:
    """The schema that is shipped as `recipes/sweeps/sweep.schema.json`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **SweepConfig.model_json_schema(),
    }
