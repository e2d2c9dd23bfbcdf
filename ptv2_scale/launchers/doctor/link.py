"""The interface over which this host would talk to others, as ranks would choose it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psutil

from ptv2_scale.launchers.doctor.facts import Link
from ptv2_scale.runtime.interfaces import address_of, between_hosts, toward

GLOO, NCCL = "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"


def link_to(master: str, environ: Mapping[str, str]) -> Link:
    """This host's link.

    Args:
        master: address of the first host.
        environ: of the ranks; what the user has set there counts.
    """
    names = sorted(psutil.net_if_addrs())
    there = f"there are {', '.join(names)}"
    nccl = environ.get(NCCL)
    if nccl and not any(_fits(name, nccl) for name in names):
        return Link(nccl, "", NCCL, f"no interface fits {NCCL}={nccl}; {there}")
    chosen = (environ.get(GLOO) or "").partition(",")[0]
    if chosen:
        address = address_of(chosen)
        problem = "" if address else f"no interface fits {GLOO}={chosen}; {there}"
        return Link(chosen, address or "", GLOO, problem)
    # Ranks that are all on one machine may meet at a loopback address.
    found = between_hosts(master) or toward(master)
    if found is None:
        return Link(problem=f"no interface leads to {master}, or the name is not known; {there}")
    return Link(found.name, found.address)


def _fits(name: str, words: str) -> bool:
    """Whether NCCL would take an interface, by its manual: `eth,ib`, `=eth0`, `^docker`."""
    exclude, exact = words.startswith("^"), words.lstrip("^").startswith("=")
    listed: Sequence[str] = [one for one in words.lstrip("^=").split(",") if one]
    fits = any(name == one if exact else name.startswith(one) for one in listed)
    return fits != exclude
