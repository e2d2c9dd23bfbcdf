"""Which network interface gloo and NCCL are told to use."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest
from cluster import Cluster

from ptv2_scale.runtime import interfaces
from ptv2_scale.runtime.interfaces import Interface, interface_env, toward

LO = Interface("lo", "127.0.0.1")
ETH = Interface("eth1", "10.0.0.7")


def routes(monkeypatch: pytest.MonkeyPatch, **known: Interface) -> None:
    """A host whose own name is first's; addresses of elsewhere go by the default route."""
    elsewhere = known.pop("elsewhere", None)
    monkeypatch.setattr(interfaces, "toward", lambda address: known.get(address, elsewhere))


def test_loopback_is_found_by_name_and_by_either_number() -> None:
    assert toward("127.0.0.1") == LO
    named = toward("localhost")
    assert named is not None
    assert named.loopback
    if socket.has_ipv6 and toward("::1") is not None:
        assert toward("::1") == Interface("lo", "::1")


@pytest.mark.parametrize("address", ["nowhere.invalid", "x" * 300, "", "a..b", "\udcff"])
def test_an_address_that_is_none_has_no_interface(address: str) -> None:
    found = toward(address)
    assert found is None or found.loopback


def test_the_way_to_the_first_host_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    routes(monkeypatch, first=ETH, elsewhere=Interface("eth0", "192.168.0.7"))
    reported = interface_env({"MASTER_ADDR": "first"}, several_hosts=True)
    assert reported == {"GLOO_SOCKET_IFNAME": "eth1", "NCCL_SOCKET_IFNAME": "=eth1"}


def test_where_the_first_host_calls_itself_loopback_the_default_route_decides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    routes(monkeypatch, first=Interface("lo", "127.0.1.1"), elsewhere=ETH)
    assert (
        interface_env({"MASTER_ADDR": "first"}, several_hosts=True)["GLOO_SOCKET_IFNAME"] == "eth1"
    )


def test_without_any_way_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    routes(monkeypatch, first=LO)
    assert interface_env({"MASTER_ADDR": "first"}, several_hosts=True) == {}
    assert interface_env({"MASTER_ADDR": "unknown"}, several_hosts=True) == {}


def test_on_one_host_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    routes(monkeypatch, first=ETH)
    assert interface_env({"MASTER_ADDR": "first"}, several_hosts=False) == {}


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    routes(monkeypatch, first=ETH)
    mine = {"MASTER_ADDR": "first", "NCCL_SOCKET_IFNAME": "ib0"}
    assert interface_env(mine, several_hosts=True) == {"GLOO_SOCKET_IFNAME": "eth1"}
    assert interface_env({**mine, "GLOO_SOCKET_IFNAME": "ib0"}, several_hosts=True) == {}


ASK = """
import json, sys
from ptv2_scale.runtime.interfaces import between_hosts, toward
found = [*map(toward, sys.argv[1:]), between_hosts("localhost")]
print(json.dumps([vars(one) for one in found]))
"""


def test_on_hosts_the_kernel_agrees(cluster: Callable[..., Cluster]) -> None:
    hosts = cluster(2)
    first, second = hosts.hosts
    asked = hosts.run(1, [sys.executable, "-c", ASK, first, second], stdout=subprocess.PIPE)
    text = asked.communicate(timeout=60)[0]
    kernel = hosts.ssh(1, f"ip route get {second}").stdout
    said = re.search(r"dev (\S+) src (\S+)", kernel)
    assert said is not None
    wanted = {"name": said[1], "address": said[2]}
    assert wanted == {"name": "eth0", "address": first}
    # Its own address, the other's, and the default route's.
    assert json.loads(text) == [wanted, wanted, wanted]
