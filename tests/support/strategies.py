"""Hypothesis strategies: valid input, spoilt as strangers and broken disks spoil it."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from points import EXAMPLES as USUAL

_GIVEN = os.environ.get("PTV2_SCALE_EXAMPLES")
EXAMPLES = int(_GIVEN or USUAL)


def trials(share: float = 1.0) -> settings:
    """How often a test is tried: `share` of PTV2_SCALE_EXAMPLES, or of what is usual."""
    return settings(
        max_examples=max(10, int(EXAMPLES * share)),
        database=None,
        # The same every time, unless somebody asks for many: those are drawn anew.
        derandomize=_GIVEN is None,
        suppress_health_check=list(HealthCheck),
    )


def attacks(canary: str) -> list[str]:
    """Texts that do harm where they are taken for code, a path or a command."""
    return [
        f"$(touch {canary})", f"`touch {canary}`", f"'; touch {canary}; '", f"| touch {canary}",
        f"__import__('os').system('touch {canary}')", "{0.__class__.__mro__}", "%s%n%x",
        "!!python/object/apply:os.system ['id']", "../../../outside/mine", "../outside/new",
        "/proc/self/environ", "/dev/zero", "/dev/stdin", "~nobody-such/x", "~", "-rf", "--help",
        "..", ".", "/", "//", "\\", "con:", "a\x00b", "a\nb", "a\rb", "\x1b[2J\x1b]0;x\x07",
        "\u202eevil", "\ud800", "\ufeff", "${HF_TOKEN}", "$HF_TOKEN", "", " ", "x" * 300,
        "x" * 5000, "https://localhost/x", "file:///etc/passwd", "nan", "1e999", "null", "demo",
    ]  # fmt: skip


def file_names(canary: str) -> st.SearchStrategy[str]:
    """Names that a command line or a recipe can hold: no NUL, no half character."""
    texts = st.sampled_from(attacks(canary)) | st.text(max_size=20)
    return texts.filter(
        lambda text: "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)
    )


NUMBERS = [
    0, -1, 1, 2, 3, 7, 1000, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**12,
    10**30, 10**400, -(10**30), 0.0, -0.0, 0.5, -0.5, 1.5, 1e-300, 1e308, float("inf"),
    float("-inf"), float("nan"),
]  # fmt: skip


def nested(depth: int, mapping: bool = False) -> Any:
    """Lists or objects inside each other."""
    value: Any = 1
    for _ in range(depth):
        value = {"a": value} if mapping else [value]
    return value


def junk(canary: str) -> st.SearchStrategy[Any]:
    """A value that is likely not what was wanted."""
    scalar = st.one_of(
        st.sampled_from(attacks(canary)),
        st.sampled_from(NUMBERS),
        st.sampled_from([None, True, False]),
        st.text(max_size=20),
        st.integers(),
        st.floats(),
    )
    shapes = st.sampled_from(
        [[], {}, [[]], [{}], {"a": {}}, nested(50), nested(60, mapping=True), ["x"] * 2000]
    )
    few = st.lists(scalar, max_size=4) | st.dictionaries(st.text(max_size=8), scalar, max_size=4)
    return scalar | shapes | few


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value[:5]):
            yield from _paths(inner, (*path, index))


@st.composite
def mutated(draw: st.DrawFn, valid: Any, canary: str, most: int = 3) -> Any:
    """A copy of plain data with one to `most` values replaced, removed, added or renamed."""
    holder = {"root": copy.deepcopy(valid)}
    for _ in range(draw(st.integers(1, most))):
        path = draw(st.sampled_from([p for p in _paths(holder) if p]))
        around = _at(holder, path[:-1])
        _spoil(draw, around, path[-1], junk(canary))
    return holder.get("root")


def _at(value: Any, path: Sequence[Any]) -> Any:
    for step in path:
        value = value[step]
    return value


def _spoil(draw: st.DrawFn, around: Any, key: Any, values: st.SearchStrategy[Any]) -> None:
    how = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add", "rename"]))
    if how == "replace" or key == "root":
        around[key] = draw(values)
    elif how == "remove":
        del around[key]
    elif isinstance(around, dict) and how == "add":
        around[draw(st.text(max_size=10))] = draw(values)
    elif isinstance(around, dict):
        around[f"{key}{draw(st.sampled_from(['s', '.', ' ', '/../x']))}"] = around.pop(key)
    else:
        around.insert(0, draw(values))


def as_text(value: Any) -> bytes:
    """JSON as a careless writer has it: NaN and half characters are let through."""
    return json.dumps(value).encode()


# Whole files that are not what was wanted.
BLOBS = [
    b"", b"\x00" * 100, b"\xff\xfe\x00", b"\xef\xbb\xbf{}", b"{", b"}", b"null", b"[]", b"{}",
    b'""',    b"1", b"NaN", b"[" * 100_000, b'{"a":' * 100_000, b"[" * 900 + b"]" * 900,
    b"[" * 990 + b"]" * 990, b'{"a": ' + b"9" * 5000 + b"}", b'"\\ud800"', b"\x1b[2J\n\n\n",
    b"\x80\x04cos\nsystem\n(S'id'\ntR.", b"PK\x03\x04" + b"\x00" * 60, b"#!/bin/sh\nid\n",
    b"x" * (1 << 20), b"\n" * 100_000, b"\xe9" * 1000, b'{"a": 1, "a": 2}',
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes of a file, cut, overwritten, stretched, or something else altogether."""
    how = draw(st.sampled_from(["cut", "overwrite", "insert", "repeat", "blob", "flip"]))
    if how == "blob" or not content:
        return draw(st.sampled_from(BLOBS) | st.binary(max_size=200))
    place = draw(st.integers(0, len(content) - 1))
    new = draw(st.binary(min_size=1, max_size=20))
    if how == "cut":
        return content[:place]
    if how == "overwrite":
        return content[:place] + new + content[place + len(new) :]
    if how == "flip":
        changed = content[place] ^ (1 << draw(st.integers(0, 7)))
        return content[:place] + bytes([changed]) + content[place + 1 :]
    if how == "insert":
        return content[:place] + new + content[place:]
    return content[:place] + content[place : place + 200] * draw(st.integers(2, 50))


def json_bytes(valid: Any, canary: str) -> st.SearchStrategy[bytes]:
    """A JSON file that is spoilt in its meaning or in its bytes."""
    whole = mutated(valid, canary).map(as_text)
    return st.one_of(whole, whole, whole, damaged(as_text(valid)))
