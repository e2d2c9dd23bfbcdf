"""Recipes read and written: YAML file + `key=value` overrides -> `RunConfig` -> YAML."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ptv2_scale.config import yaml_text
from ptv2_scale.config.expected import allowed_at, keys_at
from ptv2_scale.config.problems import (
    Problem,
    problems,
    repeated,
    replaced_by,
    show_value,
    value_at,
)
from ptv2_scale.config.recipe import Backbone, RunConfig
from ptv2_scale.config.source import Place, Source, order
from ptv2_scale.config.yaml_text import Document, KeyPath, UnreadableError
from ptv2_scale.runtime.errors import UserError, did_you_mean, printable
from ptv2_scale.runtime.files import read_text

_LARGEST = 64 << 10  # bytes; a recipe with every key and a comment to each has some thousand
_SHOWN = 20


@dataclass(frozen=True)
class Setting:
    """A key of a recipe that another file sets.

    Attributes:
        key: its full name, such as "train.lr"; a section's name replaces the section.
        value: plain data.
        place: where that file sets it, as messages name it: "sweep.yaml:12".
    """

    key: str
    value: Any
    place: str

    @property
    def override(self) -> str:
        """The same on the command line: JSON is YAML."""
        return f"{self.key}={json.dumps(self.value, ensure_ascii=False)}"


def load_recipe(path: Path, overrides: Sequence[str | Setting] = ()) -> RunConfig:
    """Read a recipe.

    Args:
        path: the YAML file.
        overrides: "section.key=value", the value being YAML, or what another file sets; the last
            one for a key counts.

    Raises:
        UserError: names all that is wrong with file, overrides and values, one problem a line.
    """
    name = printable(str(path))
    return load_document(_parse(_read_text(path, name), name), name, overrides)


def dump_recipe(config: RunConfig) -> str:
    """YAML of a recipe with every default written out; reading it back gives the same recipe."""
    return yaml_text.write(config.model_dump(mode="json"))


def override(config: RunConfig, overrides: Sequence[str], source: str = "the recipe") -> RunConfig:
    """A recipe with some keys set anew.

    Args:
        config: the recipe.
        overrides: as of `load_recipe`.
        source: what messages call the recipe.

    Raises:
        UserError: an override is wrong, or contradicts the recipe.
    """
    if not overrides:
        return config
    return load_document(Document(config.model_dump(mode="json")), source, overrides)


def backbone_override(name: str | None) -> list[str]:
    """The override that a command's `--backbone` stands for; none without one."""
    return [] if name is None else [f"backbone.name={json.dumps(name)}"]


def backbone_section(arguments: Mapping[str, Any]) -> Backbone:
    """The section `backbone` of a recipe from the arguments of a call, checked as a recipe is.

    Raises:
        UserError: names all that is wrong with them, one problem a line.
    """
    try:
        return Backbone.model_validate(arguments)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=True)
        for one in found:
            one["loc"] = ("backbone", *one["loc"])
        lines = [problem.text for problem in problems({"backbone": dict(arguments)}, found)]
        raise UserError("\n".join(lines)) from None


class _Draft:
    """A recipe while it is put together: values, where they come from, and what was wrong."""

    def __init__(self, name: str) -> None:
        self.values: dict[str, Any] = {}
        self.source = Source(name)
        self.reported: list[tuple[list[Place | None], str]] = []

    def add(self, places: Sequence[Place | None], text: str) -> None:
        self.reported.append((list(places), text))

    def error(self) -> UserError:
        """All problems, in the order of the file."""
        reported = sorted(self.reported, key=lambda one: order(one[0]))
        lines = [f"{self.source.where(places)}: {text}" for places, text in reported[:_SHOWN]]
        more = [f"... and {len(reported) - _SHOWN} more."] if len(reported) > _SHOWN else []
        return UserError("\n".join([*lines, *more]))


def load_document(
    document: Document, name: str, overrides: Sequence[str | Setting] = ()
) -> RunConfig:
    """A recipe that stands in a document.

    Args:
        document: what was read; where it has no lines, messages name the document alone.
        name: of the document, for messages.
        overrides: as of `load_recipe`.

    Raises:
        UserError: see `load_recipe`.
    """
    if isinstance(overrides, str):
        text = printable(overrides)
        raise UserError(f"overrides: found one text, '{text}', expected a list: ['{text}'].")
    draft = _Draft(name)
    _take(draft, document)
    for one in overrides:
        if isinstance(one, Setting):
            _set_as_written(draft, one)
            continue
        if not isinstance(one, str):
            raise UserError(f"overrides: found {one!r:.60}, expected texts: ['train.steps=3'].")
        _override(draft, one)
    _give_way(draft)
    for section in _sections():
        # `train:` with nothing below it is a section whose keys are all commented out.
        if draft.values.get(section) is None:
            draft.values[section] = {}
    try:
        config = RunConfig.model_validate(draft.values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=True)
        for problem in problems(draft.values, found):
            _tell(draft, problem)
        raise draft.error() from None
    if draft.reported:
        raise draft.error()
    return config


def _tell(draft: _Draft, problem: Problem) -> None:
    draft.add([draft.source.place(path) for path in problem.paths], problem.text)


def _sections() -> list[str]:
    keys = keys_at(())
    return [key for key in keys if any("properties" in one for one in allowed_at((key,)))]


def _parse(text: str, name: str) -> Document:
    try:
        return yaml_text.parse(text)
    except UnreadableError as error:
        raise UserError(f"{name}:{error.line}: cannot be read as YAML: {error.reason}.") from None


def _take(draft: _Draft, document: Document) -> None:
    if not isinstance(document.value, dict | None):
        raise UserError(
            f"{draft.source.name}: found {show_value(document.value)}, expected the sections"
            f" {', '.join(keys_at(()))}."
        )
    draft.values = deepcopy(document.value or {})
    draft.source.places.update(document.lines)
    for path, first, second in document.repeated:
        draft.add([first, second], repeated(path))


def _set_as_written(draft: _Draft, setting: Setting) -> None:
    path: KeyPath = tuple(setting.key.split("."))
    if not all(path):
        draft.add([setting.place], f"{setting.key}: expected section.key, such as train.lr.")
        return
    _set(draft, path, deepcopy(setting.value), setting.place)


def _override(draft: _Draft, text: str) -> None:
    key, equals, value = text.partition("=")
    place = f"override '{printable(text)}'"
    path: KeyPath = tuple(key.split("."))
    if not equals or not all(path) or key.startswith("-") or not key.isprintable():
        draft.add([place], "expected section.key=value, such as train.lr=5e-3.")
        return
    try:
        document = yaml_text.parse(value)
    except UnreadableError as error:
        # A pattern of text begins with a column in braces, which YAML takes for keys.
        quoted = f" Text that begins with {value[0]} is put in quotes of its own:"
        advice = f"{quoted} '{key}=\"{value}\"'." if value[:1] in ("{", "[") else ""
        draft.add([place], f"the value cannot be read as YAML: {error.reason}.{advice}")
        return
    for inner, *_ in document.repeated:
        draft.add([place], repeated((*path, *inner)))
    _set(draft, path, document.value, place)


def _set(draft: _Draft, path: KeyPath, value: Any, place: str) -> None:
    target = draft.values
    for end, step in enumerate(path[:-1], start=1):
        if target.get(str(step)) is None:
            target[str(step)] = {}
        target = target[str(step)]
        if not isinstance(target, dict):
            name = ".".join(map(str, path[:end]))
            draft.add(
                [place],
                f"{name} is {show_value(value_at(draft.values, path[:end]))}, which has no keys.",
            )
            return
    target[str(path[-1])] = value
    draft.source.replace(path, place)


def _give_way(draft: _Draft) -> None:
    """Take out of the file's values those for which overrides leave no place."""
    for path in [path for path, place in draft.source.places.items() if isinstance(place, str)]:
        section = draft.values.get(str(path[0]))
        if len(path) != 2 or not isinstance(section, dict):
            continue
        name, key = map(str, path)
        for other in replaced_by(name, section, key):
            if not isinstance(draft.source.place((name, other)), str):
                section.pop(other, None)


def _read_text(path: Path, name: str) -> str:
    try:
        if not path.is_file():
            raise UserError(f"{name}: {_not_a_file(path)}")
    except OSError as error:
        raise UserError(f"{name}: cannot be read: {error.strerror}.") from None
    return read_text(path, _LARGEST, "a recipe")


def _not_a_file(path: Path) -> str:
    if path.exists():
        return "is not a file. Name a recipe's YAML file."
    near = did_you_mean(path.name, [other.name for other in path.parent.glob("*.y*ml")])
    return f"no such file.{near}"
