"""Hosts that probe each other: real processes, one that is not there, and a stranger."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ranks import free_port

from ptv2_scale.launchers.doctor.facts import NetworkProbe, Peer, ProbeResult, dump, parse

NAMES = ("n1", "n2", "n3")


def network_probe(run: Path | None, **changes: object) -> NetworkProbe:
    values = {
        "peers": [Peer(name, "127.0.0.1", free_port()) for name in NAMES],
        "master": "localhost",
        "token": "0123456789abcdef",
        "probe_name": ".probe",
        "run": None if run is None else str(run),
        "patience": 2.0,
        "stream": 0.1,
    }
    return NetworkProbe(**{**values, **changes})  # type: ignore[arg-type]


def attend(probe: NetworkProbe, *names: str) -> dict[str, ProbeResult]:
    """What hosts find that take part at the same time."""
    argv = [sys.executable, "-m", "ptv2_scale.launchers.doctor", "network_probe"]
    attending = {
        name: subprocess.Popen(
            argv, env={**os.environ, "PTV2_SCALE_HOST": name},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for name in names
    }  # fmt: skip
    for process in attending.values():
        assert process.stdin is not None
        process.stdin.write(dump(probe))
        process.stdin.close()
        process.stdin = None
    found = {
        name: parse(ProbeResult, process.communicate()[0]) for name, process in attending.items()
    }
    assert None not in found.values()
    return found  # type: ignore[return-value]


def test_all_reach_all(tmp_path: Path) -> None:
    found = attend(network_probe(tmp_path / "not" / "yet"), *NAMES)
    for name, one in found.items():
        assert not one.unreached
        assert not one.rendezvous_problem
        assert set(one.clock) == {*NAMES} - {name}
        assert all(abs(ahead) < 0.5 for ahead in one.clock.values())  # it is one clock
        assert one.bandwidth is not None
        assert one.bandwidth > 1e6
        assert one.reverse_dns < 2
        assert one.sees == [*NAMES]
    assert not list(tmp_path.iterdir())  # each has removed its own file


def test_one_does_not_come() -> None:
    for name, one in attend(network_probe(None), "n1", "n3").items():
        assert set(one.unreached) == {"n2"}
        assert "Connection refused" in one.unreached["n2"]
        assert set(one.clock) == {"n1", "n3"} - {name}


def test_the_first_does_not_come() -> None:
    for one in attend(network_probe(None), "n2", "n3").values():
        assert one.rendezvous_problem.startswith("localhost port")


def test_a_stranger_is_not_taken_for_a_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        threading.Thread(target=_parrot, args=(stranger,), daemon=True).start()
        port = stranger.getsockname()[1]
        peers = [Peer("n1", "127.0.0.1", free_port()), Peer("n2", "127.0.0.1", port)]
        found = attend(network_probe(None, peers=peers), "n1")
    assert found["n1"].unreached == {"n2": f"127.0.0.1 port {port}: something else answers there"}


def _parrot(server: socket.socket) -> None:
    """Say everything back."""
    while True:
        try:
            caller, _ = server.accept()
        except OSError:
            return
        with caller:
            while data := caller.recv(1 << 16):
                caller.sendall(data)


def test_the_port_is_taken() -> None:
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        peers = [Peer("n1", "127.0.0.1", port), Peer("n2", "127.0.0.1", free_port())]
        found = attend(network_probe(None, peers=peers), "n1", "n2")
    assert (
        found["n1"].rendezvous_problem == f"port {port} cannot be had there: Address already in use"
    )


def test_a_name_server_that_does_not_answer(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a name server of one's own needs root and unshare")
    silent = tmp_path / "resolv.conf"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        try:
            server.bind(("127.0.0.1", 53))
        except OSError as error:
            pytest.skip(f"port 53: {error.strerror}")
        silent.write_text("nameserver 127.0.0.1\noptions timeout:5 attempts:2\n")
        script = (
            f"mount --bind {silent} /etc/resolv.conf && exec {sys.executable} -c 'import time;"
            "from ptv2_scale.launchers.doctor.reachability import ReverseDns;"
            "began = time.monotonic();"
            'print(ReverseDns("10.254.253.252").seconds() > 2, time.monotonic() - began < 4)\''
        )
        argv = ["unshare", "--mount", "sh", "-c", script]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "True True\n", done.stderr
