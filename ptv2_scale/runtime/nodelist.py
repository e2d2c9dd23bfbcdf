"""Names of hosts, and Slurm's lists of them, `n[1-3,05-07],m2`, written out.

Nothing of Slurm is called.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator

from ptv2_scale.runtime.errors import UserError

MAX_NAME = 253  # characters: the longest name DNS allows
MAX_TEXT = 1 << 16  # characters
MAX_HOSTS = 1 << 16  # Slurm's own limit

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_PART = re.compile(r"(?:[A-Za-z0-9._-]|\[[0-9,-]+\])+", re.ASCII)
_PIECE = re.compile(r"[A-Za-z0-9._-]+|\[[0-9,-]+\]", re.ASCII)
_LIST = re.compile(r"(?:[^\[\],]|\[[^\[\]]*\])+")
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", re.ASCII)


def is_host_name(name: str) -> bool:
    """Whether a word can be a host's name, and nothing that a shell or an option could be."""
    return len(name) <= MAX_NAME and _NAME.fullmatch(name) is not None


def expand(text: str) -> list[str]:
    """The hosts of a list, in its order; a host that comes twice is there twice.

    Args:
        text: names with commas between; `[1-3,7]` in a name stands for each of these numbers, and
            `[08-10]` for numbers of at least two digits.

    Raises:
        UserError: it is no such list, or one of too many hosts.
    """
    if len(text) > MAX_TEXT:
        raise UserError(f"a list of hosts of {len(text)} characters; allowed: {MAX_TEXT}.")
    hosts: list[str] = []
    for part in _parts(text):
        hosts += _names(part, MAX_HOSTS - len(hosts))
    strange = next((host for host in hosts if not is_host_name(host)), None)
    if strange is not None or not hosts:
        raise _nonsense(text if strange is None else strange)
    return hosts


def _parts(text: str) -> Iterator[str]:
    """What stands between commas that are not in brackets."""
    parts = _LIST.findall(text)
    if ",".join(parts) != text:
        raise _nonsense(text)
    for part in parts:
        if not _PART.fullmatch(part):
            raise _nonsense(part)
        yield part


def _names(part: str, most: int) -> list[str]:
    pieces = [_numbers(piece) for piece in _PIECE.findall(part)]
    if math.prod(map(_count, pieces)) > most:
        raise UserError(f"the list of hosts '{part[:100]}' has more than {MAX_HOSTS} hosts.")
    return ["".join(words) for words in itertools.product(*map(_words, pieces))]


def _numbers(piece: str) -> str | list[tuple[int, int, int]]:
    """A literal, or (first, last, digits) of each range in brackets."""
    if not piece.startswith("["):
        return piece
    ranges = []
    for one in piece[1:-1].split(","):
        match = _RANGE.fullmatch(one)
        first, last = (match[1], match[2] or match[1]) if match else ("1", "0")
        if int(last) < int(first):
            raise _nonsense(piece)
        ranges.append((int(first), int(last), len(first)))
    return ranges


def _count(piece: str | list[tuple[int, int, int]]) -> int:
    return 1 if isinstance(piece, str) else sum(last - first + 1 for first, last, _ in piece)


def _words(piece: str | list[tuple[int, int, int]]) -> list[str]:
    if isinstance(piece, str):
        return [piece]
    return [
        str(number).zfill(digits)
        for first, last, digits in piece
        for number in range(first, last + 1)
    ]


def _nonsense(text: str) -> UserError:
    return UserError(
        f"found '{text[:100]}' for a list of hosts; expected names with commas between, as"
        " n1,n2 or n[1-4,07-09]."
    )
