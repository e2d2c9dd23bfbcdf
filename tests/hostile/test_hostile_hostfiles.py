"""Hostfiles of strangers: a host's name becomes an argument of ssh."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from arena import Arena
from hypothesis import given
from hypothesis import strategies as st
from strategies import attacks, damaged, trials

from ptv2_scale.launchers.hostfile import Host, read_hostfile
from ptv2_scale.runtime.errors import UserError

GOOD = b"# two nodes\nnode-0 slots=8\n\n  node_1.cluster\tslots=1 # the small one\r\n"
SAFE = re.compile(r"[A-Za-z0-9._-]{1,253}", re.ASCII)


def written(arena: Arena, content: bytes) -> Path:
    path = arena.inside / "hostfile"
    path.write_bytes(content)
    return path


def must_be_safe(path: Path) -> None:
    hosts = read_hostfile(path)
    assert hosts
    assert len({host.name for host in hosts}) == len(hosts)
    for host in hosts:
        assert SAFE.fullmatch(host.name)
        assert host.name[0] not in "-._"
        assert 1 <= host.slots <= 1024


@trials(2)
@given(data=st.data())
def test_hostfiles(arena: Arena, data: st.DataObject) -> None:
    names = st.sampled_from([*attacks(str(arena.canary)), "-oProxyCommand=id", "a@b", "n0", "é"])
    texts = names | st.text(max_size=12) | st.from_regex(r"\A[a-z0-9._-]{1,6}\Z")
    slots = st.sampled_from(["slots=1", "slots=0", "slots=1025", "slots=-1", "slots=٣", "slots",
                             "slots=1 2", "slots=99999999999", "Slots=1", "slots=1.0"])  # fmt: skip
    lines = st.lists(st.tuples(texts, slots | texts).map(" ".join), max_size=6)
    whole = lines.map(lambda found: "\n".join(found).encode("utf-8", "surrogatepass"))
    path = written(arena, data.draw(whole | damaged(GOOD)))
    arena.attempt("hostfile", lambda: must_be_safe(path))


@trials(0.5)
@given(hosts=st.dictionaries(
    st.from_regex(r"\A[a-z0-9]([a-z0-9.-]{0,8}[a-z0-9])?\Z"), st.integers(1, 1024), min_size=1
))  # fmt: skip
def test_every_good_one_is_accepted(arena: Arena, hosts: dict[str, int]) -> None:
    path = written(arena, "\n".join(f"{n} slots={s}" for n, s in hosts.items()).encode())
    assert read_hostfile(path) == tuple(Host(name, slots) for name, slots in hosts.items())
    assert arena.attempt("control", lambda: must_be_safe(path)) is None


def test_comments_and_blank_lines(arena: Arena) -> None:
    assert read_hostfile(written(arena, GOOD)) == (Host("node-0", 8), Host("node_1.cluster", 1))


@pytest.mark.parametrize(
    ("content", "reported"),
    [
        (b"", "hostfile: no host in it"),
        (b"# only this\n\n", "hostfile: no host in it"),
        (b"a slots=1\n\nb slots=2\na slots=3\n", "hostfile:4: found the host 'a' of line 1 again"),
        (
            b"a slots=1\n-oProxyCommand=id slots=1\n",
            "hostfile:2: found '-oProxyCommand=id slots=1'",
        ),
        (b"a slots=0\n", "hostfile:1: found slots=0; allowed: 1 to 1024."),
        (b"a slots=1025\n", "hostfile:1: found slots=1025"),
        (b"a\n", "hostfile:1: found 'a', expected 'NAME slots=N'"),
        (b"a;id slots=1\n", "hostfile:1: found 'a;id slots=1'"),
        (b"a slots=1 slots=2\n", "hostfile:1: found 'a slots=1 slots=2'"),
        (b"a slots=1\n\xff slots=1\n", "hostfile:2: not UTF-8"),
        (b"#" * (1 << 20) + b"\na slots=1", "hostfile: larger than 1024 KiB"),
    ],
)
def test_what_is_wrong_is_told(arena: Arena, content: bytes, reported: str) -> None:
    path = written(arena, content)
    error = arena.attempt("hostfile", lambda: read_hostfile(path))
    assert reported in str(error)


@pytest.mark.timeout(20)
def test_a_pipe_is_no_hostfile(arena: Arena) -> None:
    os.mkfifo(arena.inside / "pipe")
    with pytest.raises(UserError, match="not a regular file"):
        read_hostfile(arena.inside / "pipe")
