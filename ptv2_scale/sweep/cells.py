"""The cells of a sweep and the runs that are planned in each, every recipe checked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from ptv2_scale.config import RunConfig, load_recipe
from ptv2_scale.config.load import Setting, load_document
from ptv2_scale.config.locate import recipe_path
from ptv2_scale.config.yaml_text import Document
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.sweep.config import Choice, Range, Search
from ptv2_scale.sweep.load import SweepFile
from ptv2_scale.sweep.records import show

INLINE = "recipe.yaml"  # in the sweep's folder, where the sweep file has its recipe inside
_MOST_CELLS = 10_000
_SHOWN = 20
_UNSAFE = re.compile(r"[^A-Za-z0-9._=,+-]+", re.ASCII)
_LONGEST = 80
_SEARCHED = "search-"  # keys of runs whose values a search chooses


@dataclass(frozen=True)
class Planned:
    """A run that a cell is to have.

    Attributes:
        key: by which the state knows it, unique in its cell.
        params: values of the keys that are tried; None: the search chooses them.
        seed: `train.seed`.
    """

    key: str
    params: Mapping[str, Any] | None
    seed: int

    @property
    def folder(self) -> str:
        """Name of its run directory."""
        return folder_name(self.key)


@dataclass(frozen=True)
class Cell:
    """One combination of the axes' values.

    Attributes:
        label: the axes' labels in a row; unique in the sweep.
        axes: label on each axis, by the axis's name.
        recipe: file of the recipe that the settings change.
        settings: keys that the sweep sets in all runs of the cell.
        grid: values of each key that is tried, by key; empty with a search.
        search: what is searched; None: a grid.
        seeds: of runs that are otherwise alike.
        config: the recipe of its first run; of a search, with the lowest values.
        places: where the sweep file sets the keys of grid, search and seeds.
    """

    label: str
    axes: Mapping[str, str]
    recipe: Path
    settings: tuple[Setting, ...]
    grid: Mapping[str, list[Any]]
    search: Search | None
    seeds: tuple[int, ...]
    config: RunConfig
    places: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Name of the folder of its runs."""
        return folder_name(self.label)

    @property
    def planned(self) -> list[Planned]:
        """Its runs, in the order in which they are begun: of a search, those of the search."""
        if self.search is not None:
            numbers = range(self.search.trials)
            return [Planned(f"{_SEARCHED}{number:04d}", None, self.seeds[0]) for number in numbers]
        found = []
        for seed in self.seeds:
            for values in product(*self.grid.values()):
                found.append(self.run_of(dict(zip(self.grid, values, strict=True)), seed))
        return found

    def plans(self, key: str) -> bool:
        """Whether a run that is known by a key is one of the cell's."""
        if self.search is not None and not key.startswith(_SEARCHED):
            return True  # the best values with another seed
        return any(one.key == key for one in self.planned)

    def run_of(self, params: Mapping[str, Any], seed: int) -> Planned:
        """The run with some values of the keys that are tried."""
        words = [*(f"{key}={show(value)}" for key, value in params.items()), f"seed={seed}"]
        return Planned(",".join(words), params, seed)

    def overrides(self, params: Mapping[str, Any], seed: int, run: Path) -> tuple[str, ...]:
        """The words that make the cell's recipe the recipe of a run."""
        own = [Setting(key, value, "") for key, value in params.items()]
        own += [Setting("train.seed", seed, ""), Setting("run", str(run), "")]
        return tuple(one.override for one in (*self.settings, *own))


def folder_name(text: str) -> str:
    """A name for a folder that people recognise; different for different texts."""
    name = _UNSAFE.sub("-", text).strip("-.") or "run"
    if name == text and len(name) <= _LONGEST:
        return name
    return f"{name[:_LONGEST]}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def cells_of(file: SweepFile) -> list[Cell]:
    """The cells of a sweep, in the order of its file: the last axis changes first.

    Every recipe of a grid is checked, and of a search those at the ends of its ranges.

    Raises:
        UserError: there are too many, two have one label, or recipes are wrong; names all places.
    """
    axes = {name: dict(_values(file, name)) for name in file.config.axes}
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > _MOST_CELLS:
        raise UserError(f"{file.place('axes')}: {count} cells; the most is {_MOST_CELLS}.")
    cells, wrong = [], dict[str, None]()
    for labels in product(*axes.values()):
        own = dict(zip(axes, labels, strict=True))
        try:
            cells.append(_cell(file, own, {name: axes[name][own[name]] for name in axes}))
        except UserError as error:
            wrong.update(dict.fromkeys(str(error).splitlines()))
    if wrong:
        more = [f"... and {len(wrong) - _SHOWN} more."] if len(wrong) > _SHOWN else []
        raise UserError("\n".join([*list(wrong)[:_SHOWN], *more]))
    return cells


@dataclass(frozen=True)
class _Value:
    """One value of an axis: what it sets, and where the file has it."""

    choice: Choice
    settings: tuple[Setting, ...]
    path: tuple[str | int, ...]


def _values(file: SweepFile, name: str) -> Iterator[tuple[str, _Value]]:
    axis = file.config.axes[name]
    if isinstance(axis, dict):
        for label, choice in axis.items():
            path = ("axes", name, label)
            settings = tuple(
                Setting(key, value, file.place(*path, key)) for key, value in choice.sets.items()
            )
            yield label, _Value(choice, settings, path)
        return
    seen = set[str]()
    for number, value in enumerate(axis):
        place = file.place("axes", name, number)
        if show(value) in seen:
            raise UserError(f"{place}: axes.{name}: {show(value)} is named twice. Keep one.")
        seen.add(show(value))
        settings = (Setting(name, value, place),)
        yield show(value), _Value(Choice(), settings, ("axes", name, number))


def _cell(file: SweepFile, labels: Mapping[str, str], values: Mapping[str, _Value]) -> Cell:
    common = [Setting(key, value, file.place("set", key)) for key, value in file.config.set.items()]
    settings = (*common, *(one for value in values.values() for one in value.settings))
    grid, search, places = _tried(file, values)
    named = {name: isinstance(file.config.axes[name], dict) for name in labels}
    parts = [label if named[name] else f"{name}={label}" for name, label in labels.items()]
    reader = _Reader(file, labels, settings, places)
    return Cell(
        label=", ".join(parts) or "all",
        axes=labels,
        recipe=reader.recipe,
        settings=settings,
        grid=grid,
        search=search,
        seeds=tuple(file.config.seeds),
        config=reader.checked(grid, search),
        places=places,
    )


def _tried(
    file: SweepFile, values: Mapping[str, _Value]
) -> tuple[dict[str, list[Any]], Search | None, dict[str, str]]:
    """The grid or the search of a cell, and where each of its keys stands."""
    grid, search, own = dict(file.config.grid), file.config.search, False
    places = {key: file.place("grid", key) for key in grid}
    where: tuple[str | int, ...] = ("search",)
    for value in values.values():
        grid |= value.choice.grid or {}
        places |= {key: file.place(*value.path, "grid", key) for key in value.choice.grid or {}}
        own = own or value.choice.grid is not None
        if value.choice.search is not None:
            search, where = value.choice.search, (*value.path, "search")
    if search is None or (own and where == ("search",)):
        return grid, None, places
    return {}, search, {key: file.place(*where, "keys", key) for key in search.keys}


class _Reader:
    """Recipes of one cell.

    Args:
        file: the sweep file.
        labels: of the cell, by axis.
        settings: of all its runs.
        places: where the keys that are tried stand.
    """

    def __init__(
        self,
        file: SweepFile,
        labels: Mapping[str, str],
        settings: tuple[Setting, ...],
        places: Mapping[str, str],
    ) -> None:
        self._file, self._settings, self._places = file, settings, places
        self.recipe = self._path(labels)

    def _path(self, labels: Mapping[str, str]) -> Path:
        asked = self._file.config.recipe
        if not isinstance(asked, str):
            return self._file.folder / INLINE
        try:
            name = asked.format_map(labels)
        except (KeyError, ValueError, IndexError, AttributeError):
            raise UserError(
                f"{self._file.place('recipe')}: recipe: {asked}: in braces, expected the name of"
                f" an axis: {', '.join(labels) or 'there is none'}."
            ) from None
        beside = self._file.path.parent / name
        return recipe_path(name) if name == "demo" and not beside.exists() else beside

    def checked(self, grid: Mapping[str, list[Any]], search: Search | None) -> RunConfig:
        """The recipe of the cell's first run; those of all others are read too.

        Raises:
            UserError: one is wrong.
        """
        tried = grid if search is None else {key: _ends(one) for key, one in search.keys.items()}
        # One key at a time: all combinations may be very many, and a key has its own model.
        first = {key: values[0] for key, values in tried.items()}
        config = self._read(first)
        for key, values in tried.items():
            for value in values[1:]:
                self._read({**first, key: value})
        return config

    def _read(self, params: Mapping[str, Any]) -> RunConfig:
        seed = Setting("train.seed", self._file.config.seeds[0], self._file.place("seeds"))
        own = [Setting(key, value, self._places[key]) for key, value in params.items()]
        settings = [*self._settings, *own, seed]
        recipe = self._file.config.recipe
        if isinstance(recipe, str):
            return load_recipe(self.recipe, settings)
        lines = self._file.document.lines.items()
        inner = {path[1:]: line for path, line in lines if path[0:1] == ("recipe",) and path[1:]}
        return load_document(Document(recipe, inner), str(self._file.path), settings)


def _ends(searched: Range | list[Any]) -> list[Any]:
    return [searched.low, searched.high] if isinstance(searched, Range) else searched
