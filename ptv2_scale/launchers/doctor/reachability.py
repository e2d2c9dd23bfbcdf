"""How this host reaches others: over which interface, and how soon it knows their names.

Each rank asks for the name of the first rank's address once, as PyTorch connects it to the first
rank; where no name server answers it waits for half a minute, whatever the answer is good for
(c10d's socket.cpp, `getnameinfo`).
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Mapping, Sequence

import psutil

from ptv2_scale.launchers.doctor.facts import HostInterface
from ptv2_scale.runtime.interfaces import address_of, between_hosts, toward

GLOO, NCCL = "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"
SLOW_S = 2.0


def interface_toward(master: str, environ: Mapping[str, str]) -> HostInterface:
    """The interface over which this host would talk to others, as ranks would choose it.

    Args:
        master: address of the first host.
        environ: of the ranks; what the user has set there counts.
    """
    names = sorted(psutil.net_if_addrs())
    there = f"there are {', '.join(names)}"
    nccl = environ.get(NCCL)
    if nccl and not any(_fits(name, nccl) for name in names):
        return HostInterface(nccl, "", NCCL, f"no interface fits {NCCL}={nccl}; {there}")
    chosen = (environ.get(GLOO) or "").partition(",")[0]
    if chosen:
        address = address_of(chosen)
        problem = "" if address else f"no interface fits {GLOO}={chosen}; {there}"
        return HostInterface(chosen, address or "", GLOO, problem)
    # Ranks that are all on one machine may meet at a loopback address.
    found = between_hosts(master) or toward(master)
    if found is None:
        return HostInterface(
            problem=f"no interface leads to {master}, or the name is not known; {there}"
        )
    return HostInterface(found.name, found.address)


def _fits(name: str, words: str) -> bool:
    """Whether NCCL would take an interface, by its manual: `eth,ib`, `=eth0`, `^docker`."""
    exclude, exact = words.startswith("^"), words.lstrip("^").startswith("=")
    listed: Sequence[str] = [one for one in words.lstrip("^=").split(",") if one]
    fits = any(name == one if exact else name.startswith(one) for one in listed)
    return fits != exclude


class ReverseDns:
    """A search for the name of an address, in a thread of its own.

    Args:
        address: another host's, IPv4 or IPv6.
    """

    def __init__(self, address: str) -> None:
        self._began = time.monotonic()
        self._took: float | None = None
        self._thread = threading.Thread(target=self._search, args=(address,), daemon=True)
        self._thread.start()

    def _search(self, address: str) -> None:
        with contextlib.suppress(OSError):  # a host without a name is none the worse
            socket.getnameinfo((address, 0), socket.NI_NUMERICSERV)
        self._took = time.monotonic() - self._began

    def seconds(self) -> float:
        """Time that the search took; where it is slow, time that it has taken so far."""
        self._thread.join(max(0.0, self._began + SLOW_S - time.monotonic()))
        return time.monotonic() - self._began if self._took is None else self._took
