"""A sweep file read and checked, with the line of every key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ptv2_scale.config import yaml_text
from ptv2_scale.config.expected import Schema, allowed_at, describe, keys_at, without_references
from ptv2_scale.config.problems import repeated, show_path, show_value, value_at
from ptv2_scale.config.source import Source, order
from ptv2_scale.config.yaml_text import Document, KeyPath, UnreadableError
from ptv2_scale.demo import SWEEP as DEMO_SWEEP
from ptv2_scale.runtime.errors import UserError, did_you_mean, printable
from ptv2_scale.runtime.files import read_text
from ptv2_scale.sweep.config import SweepConfig

_LARGEST = 256 << 10  # bytes
_SHOWN = 20


@dataclass(frozen=True)
class SweepFile:
    """A sweep file.

    Attributes:
        path: of the file.
        config: what it says.
        document: the same with lines.
    """

    path: Path
    config: SweepConfig
    document: Document

    @property
    def name(self) -> str:
        """Name of the sweep."""
        return self.config.name or self.path.stem

    @property
    def folder(self) -> Path:
        """Folder of all its runs."""
        return Path(self.config.folder or Path("runs") / "sweeps" / self.name)

    def place(self, *path: str | int) -> str:
        """Where a key stands, for messages: "sweep.yaml:12"."""
        source = Source(printable(str(self.path)), dict(self.document.lines))
        return source.where([source.place(path)])


def load_sweep(path: Path) -> SweepFile:
    """Read a sweep file; its recipes are checked when its cells are made.

    Args:
        path: of the file; `demo` is the embedded one unless a file is called so.

    Raises:
        UserError: names all that is wrong, one problem a line.
    """
    path = DEMO_SWEEP if path == Path("demo") and not path.exists() else path
    name = printable(str(path))
    try:
        document = yaml_text.parse(read_text(path, _LARGEST, "a sweep file"))
    except UnreadableError as error:
        raise UserError(f"{name}:{error.line}: cannot be read as YAML: {error.reason}.") from None
    if not isinstance(document.value, dict):
        keys = ", ".join(keys_at((), root=_schema()))
        raise UserError(f"{name}: found {show_value(document.value)}, expected the keys {keys}.")
    problems = [(path, repeated(path)) for path, _, _ in document.repeated]
    try:
        config = SweepConfig.model_validate(document.value)
    except ValidationError as error:
        problems += _problems(document.value, error)
    if problems:
        raise _error(Source(name, dict(document.lines)), problems)
    return SweepFile(path, config, document)


def _error(source: Source, problems: list[tuple[KeyPath, str]]) -> UserError:
    places = [([source.place(path)], text) for path, text in problems]
    places.sort(key=lambda one: order(one[0]))
    lines = [f"{source.where(where)}: {text}" for where, text in places[:_SHOWN]]
    more = [f"... and {len(places) - _SHOWN} more."] if len(places) > _SHOWN else []
    return UserError("\n".join([*lines, *more]))


@cache
def _schema() -> Schema:
    return without_references(SweepConfig.model_json_schema())


def _problems(values: Mapping[str, Any], error: ValidationError) -> Iterator[tuple[KeyPath, str]]:
    """Messages of pydantic's findings: one a key, and none of what is around a wrong key."""
    found: dict[KeyPath, ErrorDetails] = {}
    for one in error.errors(include_url=False, include_context=True):
        found.setdefault(_path(values, one), one)
    outer = {path[:end] for path in found for end in range(len(path))}
    for path, one in found.items():
        if path not in outer or one["type"] == "conflict":
            yield path, _message(values, path, one)


def _path(values: Mapping[str, Any], error: ErrorDetails) -> KeyPath:
    """pydantic's `loc` without the names of union members, which are no keys of the file."""
    path: KeyPath = ()
    for step in error["loc"]:
        around = value_at(values, path)
        last = step == error["loc"][-1]
        there = isinstance(around, dict) and (
            step in around or (last and "missing" in error["type"])
        )
        if there or (isinstance(around, list) and isinstance(step, int)):
            path = (*path, step)
    return path


def _message(values: Mapping[str, Any], path: KeyPath, error: ErrorDetails) -> str:
    name, kind = show_path(path) or "the file", error["type"]
    if kind == "conflict":
        return str(error["msg"])
    if kind == "extra_forbidden":
        allowed = keys_at(path[:-1], root=_schema())
        guess = did_you_mean(str(path[-1]), allowed)
        return f"{name}: unknown key.{guess} Allowed: {', '.join(allowed)}."
    wanted = describe(allowed_at(path, root=_schema()))
    if kind == "missing":
        return f"{name}: missing, expected {wanted}. Add it."
    if kind == "value_error":
        return f"{name}: {error['ctx']['error']}."
    return f"{name}: found {show_value(value_at(values, path))}, expected {wanted}."
