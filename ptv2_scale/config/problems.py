"""What is wrong with a recipe, as messages: place, key, what was found, what is allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import ErrorDetails

from ptv2_scale.config.expected import (
    allowed_at,
    describe,
    keys_at,
    takes_items,
    takes_text,
    words_of,
)
from ptv2_scale.config.other_tools import our_name
from ptv2_scale.config.prompt import METHODS
from ptv2_scale.config.recipe import RunConfig
from ptv2_scale.config.rules import Conflict
from ptv2_scale.config.section import Section, Variants
from ptv2_scale.config.task import SINGLE_TASKS, TASKS
from ptv2_scale.config.yaml_text import KeyPath
from ptv2_scale.runtime.errors import did_you_mean, printable

_VARIANTS: Mapping[str, Variants] = {one.section: one for one in (TASKS, METHODS)}
_PARTS = ("task", "tasks")  # where sections of single tasks stand, by their names
_LONGEST = 60


@dataclass(frozen=True)
class Problem:
    """One mistake.

    Attributes:
        paths: values it is about; the message begins with their places.
        text: the rest of the message.
    """

    paths: tuple[KeyPath, ...]
    text: str


def problems(recipe: Mapping[str, Any], errors: Sequence[ErrorDetails]) -> list[Problem]:
    """All that is wrong with a recipe.

    Args:
        recipe: as it was written, overrides included.
        errors: pydantic's findings about it.
    """
    found: dict[KeyPath, list[ErrorDetails]] = {}
    for error in errors:
        if error["type"] != "conflict":
            found.setdefault(_path(recipe, error), []).append(error)
    clashes = [clash for clash in _clashes(recipe) if not _follows(clash, found)]
    covered = {path for clash in clashes for path in clash.paths}
    outer = {path[:end] for path in found for end in range(len(path))}
    single = [
        _problem(recipe, path, same)
        for path, same in found.items()
        if path not in covered and path not in outer
    ]
    return [*single, *clashes]


def repeated(path: KeyPath) -> str:
    """A message about a key that is written twice."""
    return f"{show_path(path)}: written twice. Keep one."


def show_path(path: KeyPath) -> str:
    """A key's full name: "train.lr", "train.betas, item 2"."""
    keys = [_short(printable(step)) for step in _words(path)]
    items = [f", item {step + 1}" for step in path if isinstance(step, int)]
    return ".".join(keys) + "".join(items)


def show_value(value: object) -> str:
    """A value as messages show it: "'fast' (str)"."""
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list):
        return _short(f"a list, {value!r}")
    if value is None or isinstance(value, bool):
        return {None: "nothing (null)", True: "true (bool)", False: "false (bool)"}[value]
    return f"{_short(repr(value))} ({type(value).__name__})"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _words(path: KeyPath) -> Iterator[str]:
    return (step for step in path if isinstance(step, str))


def _path(recipe: Mapping[str, Any], error: ErrorDetails) -> KeyPath:
    """pydantic's `loc` without the names of union members, which are no keys of a recipe."""
    steps = list(_without_tags(error["loc"]))
    if error["type"] in ("missing", "extra_forbidden"):
        return tuple(steps)
    path: KeyPath = ()
    for step in steps:
        around = value_at(recipe, path)
        known = step in around if isinstance(around, dict) else isinstance(around, list)
        if known and (isinstance(around, dict) or isinstance(step, int)):
            path = (*path, step)
    return path


def _without_tags(steps: KeyPath) -> Iterator[str | int]:
    path: KeyPath = ()
    tag_follows = False
    for step in steps:
        if tag_follows:
            tag_follows = False
            continue
        path = (*path, step)
        tag_follows = _variants_at(path) is not None
        yield step


def _variants_at(path: KeyPath) -> Variants | None:
    """The variants of the section at a path; None: it comes in one form."""
    if len(path) == 3 and path[:2] == _PARTS:
        return SINGLE_TASKS
    return _VARIANTS.get(str(path[0])) if len(path) == 1 else None


def value_at(recipe: Any, path: KeyPath) -> Any:
    """What stands at a path; None where there is nothing."""
    for step in path:
        inside = isinstance(recipe, list) or (isinstance(recipe, dict) and step in recipe)
        recipe = recipe[step] if inside else None
    return recipe


def _clashes(recipe: Mapping[str, Any]) -> Iterator[Problem]:
    for path, given in _section_values(recipe):
        for conflict in _conflicts(path, given):
            written = [key for key in conflict.keys if key in given]
            text = conflict.text.replace(f"{path[0]}.", f"{show_path(path)}.")
            yield Problem(tuple((*path, key) for key in written), text)


def _section_values(recipe: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    """All sections of a recipe that have keys, those inside another one included."""
    tops = [((name,), given) for name, given in recipe.items()]
    parts = value_at(recipe, _PARTS)
    inner = [
        ((*_PARTS, name), given)
        for name, given in (parts if isinstance(parts, dict) else {}).items()
    ]
    for path, given in (*tops, *inner):
        if isinstance(given, dict):
            yield path, given


def _conflicts(path: KeyPath, given: Mapping[str, Any]) -> Iterator[Conflict]:
    variants = _variants_at(path)
    if variants is not None:
        yield from variants.conflicts(given)
    model = _section_model(path, given)
    if model is not None:
        yield from model.conflicts(given)


def _section_model(path: KeyPath, given: Mapping[str, Any]) -> type[Section] | None:
    variants = _variants_at(path)
    if variants is not None:
        return variants.model_of(given)
    field = RunConfig.model_fields.get(str(path[0]))
    model: Any = None if field is None else field.annotation
    return model if isinstance(model, type) and issubclass(model, Section) else None


def replaced_by(section: str, given: Mapping[str, Any], key: str) -> set[str]:
    """Keys of a section for which there is no place beside what a key of it was set to."""
    model = _section_model((section,), given)
    if given.get(key) is None or model is None:
        return set()
    keys = model.replaced_by(key, given[key])
    variants = _VARIANTS.get(section)
    return keys if variants is None else keys | variants.replaced_by(given, key)


def _follows(clash: Problem, found: Mapping[KeyPath, Sequence[ErrorDetails]]) -> bool:
    """Whether a clash may come from a mistake in one of its values, which is reported already."""
    own = [error for path in clash.paths for error in found.get(path, ())]
    return any(error["type"] != "extra_forbidden" for error in own)


def _problem(recipe: Mapping[str, Any], path: KeyPath, errors: Sequence[ErrorDetails]) -> Problem:
    kinds = {error["type"]: error for error in errors}
    if "extra_forbidden" in kinds:
        return Problem((path,), _unknown(path, _models(recipe, path)))
    if "union_tag_invalid" in kinds:
        return _unknown_variant(recipe, path)
    allowed = allowed_at(path, _models(recipe, path))
    name, wanted = show_path(path), describe(allowed)
    if "missing" in kinds:
        return Problem((path,), f"{name}: missing, expected {wanted}. Add it.")
    value = value_at(recipe, path)
    if "value_error" in kinds:
        reason = kinds["value_error"]["ctx"]["error"]
        return Problem((path,), f"{name}: found {show_value(value)}, but {reason}.")
    text = f"{name}: found {show_value(value)}, expected {wanted}.{_hint(value, path, allowed)}"
    return Problem((path,), text)


def _unknown_variant(recipe: Mapping[str, Any], section: KeyPath) -> Problem:
    variants = _variants_at(section)
    assert variants is not None  # pydantic has looked for one
    path = (*section, variants.key)
    value = value_at(recipe, path)
    *most, last = [f"'{name}'" for name in variants.names()]
    wanted = f"{', '.join(most)} or {last}" if most else last
    text = f"{show_path(path)}: found {show_value(value)}, expected {wanted}."
    return Problem((path,), text + did_you_mean(str(value), variants.names()))


def _models(recipe: Mapping[str, Any], path: KeyPath) -> dict[int, str]:
    """Names of the models that sections on the way to a path must fit; see `allowed_at`."""
    found = {}
    for end in range(1, len(path) + 1):
        variants = _variants_at(path[:end])
        given = None if variants is None else value_at(recipe, path[:end])
        model = variants.model_of(given) if variants and isinstance(given, dict) else None
        if model is not None:
            found[end - 1] = model.__name__
    return found


def _unknown(path: KeyPath, models: Mapping[int, str]) -> str:
    *around, last = path
    key, allowed = str(last), keys_at(around, models)
    guess = our_name(key) or _elsewhere(key) or did_you_mean(key, allowed)
    return f"{show_path(path)}: unknown key.{guess} Allowed: {', '.join(allowed)}."


def _elsewhere(key: str) -> str:
    paths = [(key,), *((section, key) for section in keys_at(()))]
    known = [f"'{show_path(path)}'" for path in paths if allowed_at(path)]
    return f" Did you mean {' or '.join(known)}?" if known else ""


def _hint(value: object, path: KeyPath, allowed: Sequence[dict[str, Any]]) -> str:
    if isinstance(value, str):
        if "\0" in value:
            return " Take the NUL character out."
        near = did_you_mean(value, words_of(allowed))
        if near:
            return near
    if takes_items(allowed, value):
        return f" A list is written in brackets: {show_path(path)}=[{value}]."
    if isinstance(value, int | float) and takes_text(allowed):
        return " Put it in quotes to make it text."
    return ""
