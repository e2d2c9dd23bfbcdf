"""Slurm's lists of hosts, against Slurm's own expansion of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.nodelist import MAX_HOSTS, expand


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("m2", ["m2"]),
        ("n[1-3,05-07]-ib,m2", ["n1-ib", "n2-ib", "n3-ib", "n05-ib", "n06-ib", "n07-ib", "m2"]),
        ("rack[1-2]n[09-10]", ["rack1n09", "rack1n10", "rack2n09", "rack2n10"]),
        ("n[8-11],n[2,1]", ["n8", "n9", "n10", "n11", "n2", "n1"]),
        ("gpu-a.site.edu,n[7]", ["gpu-a.site.edu", "n7"]),
    ],
)
def test_lists(text: str, hosts: list[str]) -> None:
    assert expand(text) == hosts


@pytest.mark.parametrize(
    "text",
    ["", ",", "a,,b", "a,", "n[", "n[1", "n]", "n[]", "n[3-1]", "n[1-]", "n[a]", "n[1,]", "n[1][[",
     "a b", "a\nb", "$(id)", "a;b", "-oProxyCommand=x", "[1-2]-", "n[1-2]$", "\u0661",
     "n[\u0661-\u0663]", "x" * 300, "n[1-70000]", "n[1-300]x[1-300]", "n[1-65536],m",
     "n[1-999999999]", "n[1-9999999999]", "n," * 40000 + "n"],
)  # fmt: skip
def test_nonsense_is_refused_at_once(text: str) -> None:
    with pytest.raises(UserError):
        expand(text)


def test_the_longest_list() -> None:
    assert len(expand(f"n[1-{MAX_HOSTS}]")) == MAX_HOSTS


@settings(max_examples=300)
@given(st.one_of(st.text(), st.text("n1-9[],a ", max_size=12)))
def test_any_text_gives_hosts_or_a_refusal(text: str) -> None:
    with contextlib.suppress(UserError):
        assert expand(text)


@pytest.fixture(scope="module")
def scontrol(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which `scontrol` expands lists, without a controller."""
    if shutil.which("scontrol") is None:
        pytest.skip("no Slurm here")
    conf: Path = tmp_path_factory.mktemp("slurm") / "slurm.conf"
    conf.write_text("ClusterName=x\nSlurmctldHost=localhost\nNodeName=localhost\n")
    return {**os.environ, "SLURM_CONF": str(conf)}


def numbers() -> st.SearchStrategy[str]:
    def one(first: int, more: int, digits: int) -> str:
        return str(first).zfill(digits) + (f"-{first + more}" if more else "")

    ranges = st.builds(one, st.integers(0, 120), st.integers(0, 12), st.integers(1, 4))
    return st.lists(ranges, min_size=1, max_size=3).map(lambda found: f"[{','.join(found)}]")


NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,4}[a-z])?", fullmatch=True)
PARTS = st.one_of(
    NAMES,
    st.builds("".join, st.tuples(NAMES, numbers())),
    st.builds("".join, st.tuples(NAMES, numbers(), NAMES, numbers())),
)


@settings(max_examples=60)
@given(st.lists(PARTS, min_size=1, max_size=4).map(",".join))
def test_slurm_expands_them_alike(scontrol: dict[str, str], text: str) -> None:
    done = subprocess.run(
        ["scontrol", "show", "hostnames", text],
        env=scontrol, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert expand(text) == done.stdout.split()
