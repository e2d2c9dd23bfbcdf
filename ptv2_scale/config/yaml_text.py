"""YAML of recipes: a safe, small part of the language, read with the line of every key.

Numbers and true/false are those of YAML 1.2, so `1e-3` is a number and `no` is a word. Aliases and
tags are refused: a recipe needs neither, and they are how YAML does harm.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

KeyPath = tuple[str | int, ...]

_MAX_DEPTH = 20
_TAG = "tag:yaml.org,2002:"
# 4000 digits: Python refuses to read whole numbers of more than 4300.
_SCALARS: tuple[tuple[str, str, str], ...] = (
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]{1,4000}", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,9})?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
)
_READ: Mapping[str, Callable[[str], object]] = {
    _TAG + "null": lambda text: None,
    _TAG + "bool": lambda text: text.lower() == "true",
    _TAG + "int": int,
    _TAG + "float": lambda text: float(re.sub(r"\.(?=[inIN])", "", text)),
    _TAG + "str": str,
}


@dataclass(eq=False)
class UnreadableError(Exception):
    """A text is not YAML, or uses a part of YAML that recipes do without.

    Attributes:
        line: where, counted from 1.
        reason: what is wrong, without a full stop.
    """

    line: int
    reason: str


@dataclass
class Document:
    """What a YAML text says.

    Attributes:
        value: dicts, lists and scalars; None for an empty text.
        lines: line of every key and list item, counted from 1.
        repeated: keys that come twice, with both lines; the first one's value is kept.
    """

    value: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    repeated: list[tuple[KeyPath, int, int]] = field(default_factory=list)

    def read(self, node: Node, path: KeyPath = ()) -> Any:
        """The value of a node at a path; notes lines on the way."""
        self.lines.setdefault(path, _line(node))
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        return _READ[node.tag](_text(node))

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                raise UnreadableError(
                    _line(key), "a key must be a word, and this is a list or a section"
                )
            name = _text(key)
            place = (*path, name)
            if name in found:
                self.repeated.append((place, self.lines[place], _line(key)))
                continue
            self.lines[place] = _line(key)
            found[name] = self.read(value, place)
        return found


def parse(text: str) -> Document:
    """Read a YAML text.

    Raises:
        UnreadableError: it cannot be read; says where and why.
    """
    document = Document()
    try:
        node = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        parts = [part for part in (error.context, error.problem) if part]
        raise UnreadableError(mark.line + 1 if mark else 1, ", ".join(parts)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UnreadableError(
            line, f"the character U+{ord(text[error.position]):04X} is not allowed"
        ) from None
    except (ValueError, OverflowError):
        # PyYAML passes an escape such as "\UFFFFFFFF" straight to chr().
        raise UnreadableError(1, "an escape or a %YAML line is out of range") from None
    document.value = None if node is None else document.read(node)
    return document


def write(value: Any) -> str:
    """YAML of plain data that `parse`, and any other reader of YAML, reads back as it was."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _text(node: Node) -> str:
    text = str(node.value)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise UnreadableError(_line(node), "half a character (a lone surrogate) is no text")
    return text


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        self._refuse(self.peek_event())  # type: ignore[no-untyped-call]
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _refuse(self, event: Any) -> None:
        reason = None
        if isinstance(event, yaml.AliasEvent):
            reason = "an alias (*name) is not allowed in a recipe. Write the value out"
        elif getattr(event, "tag", None) is not None:
            reason = f"a tag ({event.tag}) is not allowed in a recipe. Take it out"
        elif self.depth > _MAX_DEPTH:
            reason = f"nested more than {_MAX_DEPTH} levels deep"
        if reason:
            raise yaml.MarkedYAMLError(problem=reason, problem_mark=event.start_mark)


class _Dumper(yaml.SafeDumper):
    # Words that YAML 1.1 or 1.2 takes for something else are quoted: resolvers of both.
    yaml_implicit_resolvers = {
        first: list(pairs) for first, pairs in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }


def _represent(dumper: yaml.SafeDumper, text: str) -> ScalarNode:
    # Plain and single-quoted, PyYAML turns line breaks such as U+0085 into others.
    return dumper.represent_scalar(_TAG + "str", text, None if text.isprintable() else '"')


_Dumper.add_representer(str, _represent)
for _name, _pattern, _first in _SCALARS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(
            _TAG + _name, re.compile(f"^(?:{_pattern})\\Z"), [*_first, *([""] * (_name == "null"))]
        )
