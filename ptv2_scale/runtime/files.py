"""Small files of strangers, read whole: regular files only, up to a size, UTF-8, JSON not too deep.

Whatever is wrong with one is a `UserError` that names the file and, where there is one, the line.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from ptv2_scale.runtime.errors import UserError

# The largest real ones are indices of weight shards and exports' cards: some megabytes.
MAX_JSON_BYTES = 64 << 20
# Python's own limit (1000 calls) is in the way of whoever prints or copies the value later.
MAX_JSON_DEPTH = 100
_POINTERS = (
    b"version https://git-lfs.github.com/spec/",
    b"version https://hawser.github.com/spec/",
)


def refuse_pointer(path: Path) -> None:
    """Refuse a small text that Git leaves in place of a large file where Git LFS did not run.

    Read as what it stands for, such a text may even make sense: as a vocabulary of three words.

    Raises:
        UserError: it is one; says how to get the file.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if file.read(len(_POINTERS[0])).startswith(_POINTERS):
            raise UserError(
                f"{path}: a Git LFS pointer, not the file that it stands for. Run `git lfs pull` in"
                f" {path.parent}, or download the file again."
            )


def refuse_unreadable(path: Path) -> None:
    """Refuse a large file that cannot be read, or that Git LFS has not fetched.

    Raises:
        UserError: says which of the two.
    """
    try:
        refuse_pointer(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}.") from None


def read_text(path: Path, most: int, what: str) -> str:
    """The text of a file.

    Args:
        path: a regular file, or a link to one: a pipe or a device might never end.
        most: bytes it may have.
        what: it is to be, for the message: "a recipe".

    Raises:
        UserError: it is no such file, a Git LFS pointer, larger, or not UTF-8.
    """
    try:
        if not os.path.isfile(path):
            raise UserError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}.")
        refuse_pointer(path)
        with path.open("rb") as file:
            content = file.read(most + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: cannot be read: {reason}.") from None
    if len(content) > most:
        raise UserError(f"{path}: larger than {most >> 10} KiB, so this is not {what}.")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not UTF-8. Save the file as UTF-8.") from None


def read_json(path: Path, *, unique_keys: bool = False) -> Any:
    """The value of a JSON file.

    Args:
        path: see `read_text`.
        unique_keys: refuse a key that comes twice in an object; else the last one counts.

    Raises:
        UserError: see `read_text`; it is not JSON, or nested too deeply.
    """
    text = read_text(path, MAX_JSON_BYTES, "a file of settings")
    try:
        return parse_json(text, unique_keys=unique_keys)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not JSON: {error.msg}.") from None
    except ValueError as error:
        raise UserError(f"{path}: {error}.") from None


class _RepeatedKeyError(ValueError):
    """An object of a JSON text names a key twice."""


def parse_json(text: str, *, unique_keys: bool = False) -> Any:
    """The value of a JSON text; see `read_json`.

    Raises:
        ValueError: it is not JSON, nested too deeply, or has half a character in it.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique if unique_keys else None)
        deep = _is_deeper(value, MAX_JSON_DEPTH)
    except RecursionError:
        value, deep = None, True
    except (json.JSONDecodeError, _RepeatedKeyError):
        raise
    except ValueError as error:  # a number of too many digits
        raise ValueError(f"not JSON: {error}") from None
    if deep:
        raise ValueError(f"JSON nested too deeply, more than {MAX_JSON_DEPTH} levels")
    if "\\ud" in text or "\\uD" in text:
        _refuse_half_characters(value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = sorted(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
    if twice:
        raise _RepeatedKeyError(f"given twice in one object: {', '.join(twice)}")
    return dict(pairs)


def _is_deeper(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most + 1):
        outer = [one for one in level if isinstance(one, (dict, list))]
        level = [
            inner for one in outer for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True


def _refuse_half_characters(value: Any) -> None:
    # Neither a tokenizer nor a file takes a lone surrogate.
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError(
            "half a character (a lone surrogate, \\ud800 to \\udfff) is no text"
        ) from None


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder; what a symbolic link leads to is not counted."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
