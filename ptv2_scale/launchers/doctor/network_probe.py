"""A host connects to all others, as ranks would: who can be reached, how fast, by what clock.

Every host starts a server and connects to every other's. Hosts of one probe know each other by a
token, so that a stranger who listens at the same port is not taken for one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from ptv2_scale.launchers.doctor.facts import NetworkProbe, Peer, ProbeResult
from ptv2_scale.launchers.doctor.probe_server import ProbeConnection, ProbeServer, connect
from ptv2_scale.launchers.doctor.reachability import ReverseDns
from ptv2_scale.runtime.launch_context import host_name
from ptv2_scale.runtime.shared_fs_probe import marked, nearest_folder

_AT_ONCE = 64


@dataclass(frozen=True)
class _PeerResult:
    """What came of connecting to another host.

    Attributes:
        host: name of the other one.
        seen: whether this host sees the file of the other one.
        problem: why nobody answered; then neither clock nor bandwidth count.
        ahead: seconds that its clock is ahead.
        bandwidth: bytes a second, where it was measured.
    """

    host: str
    seen: bool
    problem: str = ""
    ahead: float = 0.0
    bandwidth: float | None = None


def probe_network(probe: NetworkProbe) -> ProbeResult:
    """What this host finds with the others, all of which probe at the same time.

    Args:
        probe: the same for all hosts.
    """
    own = next(peer for peer in probe.peers if peer.host == host_name())
    with ExitStack() as stack:
        if probe.run is not None:
            with suppress(OSError):  # `host_facts` has reported it
                stack.enter_context(marked(_file_of(probe, own.host)))
        server = stack.enter_context(closing(ProbeServer(probe, own)))
        name = ReverseDns(next((one.address for one in probe.peers if one != own), own.address))
        rendezvous_problem = server.problem or _try_rendezvous(probe, own)
        results = _probe_all(probe, own)
        sees = {one.host for one in results if one.seen}
        sees |= {own.host} if _sees(probe, own.host) else set()
        server.wait_for_all()
    return ProbeResult(
        unreached={one.host: one.problem for one in results if one.problem},
        rendezvous_problem=rendezvous_problem,
        clock={one.host: one.ahead for one in results if not one.problem},
        bandwidth=next((one.bandwidth for one in results if one.bandwidth is not None), None),
        reverse_dns=name.seconds(),
        sees=sorted(sees),
    )


def _file_of(probe: NetworkProbe, host: str) -> Path:
    return nearest_folder(Path(probe.run or ".")) / f"{probe.probe_name}.{host}"


def _sees(probe: NetworkProbe, host: str) -> bool:
    # Not Path.exists, which raises where a folder may not be read.
    return probe.run is not None and os.path.exists(_file_of(probe, host))


def _try_rendezvous(probe: NetworkProbe, own: Peer) -> str:
    """Why ranks of this host would not find the first one; empty: they would."""
    first = probe.peers[0]
    if own == first:
        return ""
    try:
        with connect(probe, probe.master, first.port):
            return ""
    except OSError as error:
        return str(error)


def _probe_all(probe: NetworkProbe, own: Peer) -> Sequence[_PeerResult]:
    others = [peer for peer in probe.peers if peer != own]
    if not others:
        return []
    following = probe.peers[(probe.peers.index(own) + 1) % len(probe.peers)]
    with ThreadPoolExecutor(min(len(others), _AT_ONCE)) as pool:
        return list(pool.map(lambda peer: _probe_peer(probe, peer, peer == following), others))


def _probe_peer(probe: NetworkProbe, peer: Peer, measured: bool) -> _PeerResult:
    try:
        with connect(probe, peer.address, peer.port) as connection:
            ahead = connection.clock()
            bandwidth = _stream(connection, probe.stream) if measured else None
            # A host's file is there for so long as it is not left by all.
            seen = _sees(probe, peer.host)
            connection.leave()
        return _PeerResult(peer.host, seen, "", ahead, bandwidth)
    except OSError as error:
        return _PeerResult(peer.host, _sees(probe, peer.host), str(error))


def _stream(connection: ProbeConnection, seconds: float) -> float:
    began = time.perf_counter()
    count = connection.stream(began + seconds)
    return count / (time.perf_counter() - began)
