"""The network interface over which hosts talk, for gloo and NCCL.

Left to itself gloo announces the address that this host's own name stands for, which is a loopback
address on many systems, and NCCL takes the first interface that is up, which may be a bridge of
containers.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

# Addresses for documentation, in hardly any network: the default route leads there.
_ELSEWHERE = ("203.0.113.1", "2001:db8::1")
_ANY_PORT = 9  # nothing is sent


@dataclass(frozen=True)
class Interface:
    """A network interface of this host.

    Attributes:
        name: as `ip link` has it.
        address: that this host uses on it, IPv4 or IPv6.
    """

    name: str
    address: str

    @property
    def loopback(self) -> bool:
        """Whether it leads nowhere but to this host."""
        return ipaddress.ip_address(self.address).is_loopback


def toward(address: str) -> Interface | None:
    """The interface that this host would use to reach an address.

    Args:
        address: a name or number; one of this host's own gives the interface that has it.

    Returns:
        None: the name is not known, or no route leads there.
    """
    try:
        found = socket.getaddrinfo(address, _ANY_PORT, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return None
    for family, kind, _, _, target in found:
        try:
            with socket.socket(family, kind) as probe:
                probe.connect(target)
                own = str(probe.getsockname()[0])
        except OSError:
            continue
        return _with_address(own)
    return None


def _with_address(own: str) -> Interface | None:
    bare = own.partition("%")[0]
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address.partition("%")[0] == bare for one in addresses):
            return Interface(name, bare)
    return None


def address_of(name: str) -> str | None:
    """The address of an interface, IPv4 where it has one; None: it has none, or is not there."""
    inet = (socket.AF_INET, socket.AF_INET6)
    found = [one for one in psutil.net_if_addrs().get(name, ()) if one.family in inet]
    found.sort(key=lambda one: inet.index(one.family))
    return found[0].address.partition("%")[0] if found else None


def between_hosts(master: str) -> Interface | None:
    """The interface to talk to other hosts over; None: there is none to be found.

    Args:
        master: address of the first host, as this one knows it. The first host's own files may have
            its name for a loopback address; then the default route decides.
    """
    first = toward(master)
    if first is None or not first.loopback:
        return first
    routes = (toward(address) for address in _ELSEWHERE)
    return next((one for one in routes if one is not None and not one.loopback), None)


def is_own(address: str) -> bool:
    """Whether an address is one of this host's own."""
    found = toward(address)
    if found is None:
        return False
    known = socket.getaddrinfo(address, _ANY_PORT, type=socket.SOCK_DGRAM)
    return found.loopback or found.address in {str(one[4][0]).partition("%")[0] for one in known}


def interface_env(environ: Mapping[str, str], several_hosts: bool) -> dict[str, str]:
    """The variables that tell gloo and NCCL their interface, as far as the user has not.

    Args:
        environ: of this process, with MASTER_ADDR.
        several_hosts: whether ranks are on more hosts than this.
    """
    names = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
    missing = [name for name in names if not environ.get(name)]
    if not several_hosts or not missing:
        return {}
    interface = between_hosts(environ["MASTER_ADDR"])
    if interface is None:
        return {}
    # NCCL takes a bare name for the beginning of names: eth1 would be eth10 too.
    words = dict(zip(names, (interface.name, f"={interface.name}"), strict=True))
    return {name: words[name] for name in missing}
