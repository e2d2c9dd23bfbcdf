"""The page of all keys of a recipe, made from the models: `docs/recipe.md`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ptv2_scale.config.expected import allowed_at, describe
from ptv2_scale.config.prompt import METHODS
from ptv2_scale.config.recipe import RunConfig
from ptv2_scale.config.section import Section, Variants
from ptv2_scale.config.task import TASKS, TaskSection

_HEADING = """# Every key of a recipe

A recipe is a YAML file of sections; [the README](../README.md#recipes) has an example.
On the command line a key is written `section.key=value`. Every key has a default but those that are
**required**.

This page is made from the models that check recipes, by `ptv2-scale schema --markdown`."""
_TABLE = ["| key | value | default | meaning |", "|---|---|---|---|"]
_VARIANTS: Mapping[str, Variants] = {one.section: one for one in (METHODS, TASKS)}

Fields = Mapping[str, FieldInfo]


def markdown() -> str:
    """The page."""
    fields = RunConfig.model_fields
    sections = {name: field for name, field in fields.items() if _is_section(field)}
    alone = {name: field for name, field in fields.items() if name not in sections}
    lines = [_HEADING, "", "## Keys of no section", "", *_table((), alone)]
    for name, field in sections.items():
        lines += ["", f"## `{name}`", "", str(field.description)]
        if name in _VARIANTS:
            lines += _variants(_VARIANTS[name])
        else:
            lines += ["", *_table((name,), _fields_of(field))]
    return "\n".join(lines) + "\n"


def _is_section(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _fields_of(field: FieldInfo) -> Fields:
    model: Any = field.annotation
    return dict(model.model_fields)


def _variants(variants: Variants) -> Iterator[str]:
    """The keys of a section that comes in variants: those of all, then each one's own."""
    section, key = variants.section, variants.key
    models = variants.models()
    shared = _shared(models)
    yield from ("", f"`{section}.{key}` says which keys the section has besides.")
    if shared:
        yield from ("", f"### Keys of every `{section}` with rows", "", *_table((section,), shared))
    for model in models:
        name = variants.name_of_model(model)
        default = " (the default)" if model is models[0] else ""
        yield from ("", f"### `{section}.{key}: {name}`{default}", "", _first_line(model))
        if benchmarks := [one for one in model.NAMES if one != name]:
            yield from ("", f"`{section}.name`: {', '.join(f'`{one}`' for one in benchmarks)}.")
        own = {other: field for other, field in model.model_fields.items()
               if other not in shared and other != key}  # fmt: skip
        yield from ("", *_table((section,), own, model)) if own else ()


def _shared(models: tuple[type[Section], ...]) -> Fields:
    """Keys that all kinds of tasks with rows have with the same default and meaning."""
    with_rows = [model.model_fields for model in models if issubclass(model, TaskSection)]
    if not with_rows:
        return {}
    first, *others = with_rows
    return {
        key: field
        for key, field in first.items()
        if all(_says(field) == (_says(other[key]) if key in other else None) for other in others)
    }


def _says(field: FieldInfo) -> tuple[object, ...]:
    return field.description, repr(field.default), str(field.annotation)


def _first_line(model: type[Section]) -> str:
    return (model.__doc__ or "").partition("\n")[0]


def _table(path: tuple[str, ...], fields: Fields, model: type[Section] | None = None) -> list[str]:
    """A row for each key of a section; `model` says which variant it is."""
    models = {} if model is None else {0: model.__name__}
    rows = [
        (".".join((*path, key)), describe(allowed_at((*path, key), models)), field)
        for key, field in fields.items()
    ]
    return _TABLE + [
        f"| `{name}` | {_cell(allowed)} | {_default(field)} | {_cell(field.description or '')} |"
        for name, allowed, field in rows
    ]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    shown = value if isinstance(value, str) else json.dumps(value)
    return f"`{shown}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
