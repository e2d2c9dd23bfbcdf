"""Where ranks meet: names, IPv4, IPv6 in brackets and without, and nothing else."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from launching import spec
from torch.distributed.elastic.rendezvous.utils import parse_rendezvous_endpoint

from ptv2_scale.cli import main
from ptv2_scale.launchers.rank_group import joined_place, meeting_place, split_place
from ptv2_scale.runtime.errors import UserError


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("node1", "node1", None),
        ("node1:29500", "node1", 29500),
        ("node-1.cluster.local:1", "node-1.cluster.local", 1),
        ("10.0.0.1", "10.0.0.1", None),
        ("10.0.0.1:65535", "10.0.0.1", 65535),
        ("::1", "::1", None),
        ("[::1]", "::1", None),
        ("[::1]:29500", "::1", 29500),
        ("2001:db8::7", "2001:db8::7", None),
        ("[fe80::1%eth0]:29500", "fe80::1%eth0", 29500),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1", None),
        # A whole address of its own: a port needs brackets.
        ("::1:2950", "::1:2950", None),
    ],
)
def test_what_a_place_is(text: str, address: str, port: int | None) -> None:
    assert split_place(text) == (address, port)
    if port is not None:
        assert meeting_place(text, "other") == (address, port)


@pytest.mark.parametrize(
    "text",
    [
        "http://node1:29500",
        "::1:29500",
        "tcp://10.0.0.1",
        "node1:29500/path",
        "user@node1:29500",
        "",
        ":29500",
    ]
    + ["29500", "256.0.0.1", "10.0.0:29500", "a b:1", "node1:", "node1:0", "node1:65536", "n1:x"]
    + ["node1:29500:1", "[::1", "::1]", "[node1]:29500", "[10.0.0.1]:1", "[::1]29500", "[::1]:"]
    + ["[::1]:x", ":::1", "1::2::3", "-oProxyCommand=id", "n1,n2", "node1:２９５００", "node1: 1"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"^--master .*expected"):
        meeting_place(text, "n1")


@given(st.ip_addresses(), st.integers(1, 65535))
def test_every_address_comes_back(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    """As the standard library reads an address in a URL."""
    text = joined_place(str(address), port)
    parts = urlsplit(f"//{text}")
    assert split_place(text) == (str(address), port) == (parts.hostname, parts.port)
    assert split_place(str(address)) == (str(address), None)


def test_torchrun_gets_the_address_that_was_meant() -> None:
    words = ("--nodes", "2", "--nproc", "1", "--backend", "torchrun", "--master", "[::1]:29400")
    (channel,) = spec(*words).channels("x")
    (endpoint,) = [one for one in channel.argv if one.startswith("--rdzv-endpoint=")]
    assert parse_rendezvous_endpoint(endpoint.partition("=")[2], 1) == ("::1", 29400)


def test_nodes_need_a_port() -> None:
    words = ("--nodes", "2", "--node-rank", "0", "--nproc", "1", "--master")
    assert spec(*words, "[::1]:29400").group.master == "::1"
    with pytest.raises(UserError, match="HOST:PORT"):
        spec(*words, "::1")


@pytest.mark.parametrize("command", ["doctor", "launch"])
def test_the_command_line_refuses_it(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("n1 slots=1\n")
    words = ["demo", "--hostfile", str(hosts), "--master", "http://node1:29500"]
    assert main([command, *words, *(["--dry-run"] if command == "launch" else [])]) == 2
    assert "--master http://node1:29500: found" in capsys.readouterr().err
