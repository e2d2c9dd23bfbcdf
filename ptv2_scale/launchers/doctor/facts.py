"""What hosts are asked, and what they answer: plain values that are sent as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from ptv2_scale.hub import HubItem
from ptv2_scale.runtime.matmul_rates import MatmulRates

T = TypeVar("T")


@dataclass(frozen=True)
class HostQuery:
    """What a host is asked about itself.

    Attributes:
        run: the run directory; None: no recipe was given.
        probe_name: beginning of the names of files that hosts make beside it, for others to see.
        master: address of the first host.
        paths: files and folders that ranks read, by what they are.
        hub: models and data sets that ranks take from the hub's cache.
    """

    run: str | None
    probe_name: str
    master: str
    paths: dict[str, str] = field(default_factory=dict)
    hub: list[HubItem] = field(default_factory=list)


@dataclass(frozen=True)
class PathFacts:
    """The contents of a file, or of a folder's files.

    Attributes:
        digest: sha256 of the contents; of large files in a folder, of samples.
        size: bytes of all files.
        identity: text that is equal on two hosts that see the very same files.
        problem: reason why it cannot be read; then nothing else counts.
    """

    digest: str = ""
    size: int = 0
    identity: str = ""
    problem: str = ""


@dataclass(frozen=True)
class RunFolder:
    """The place where the run directory is, or is to be made.

    Attributes:
        nearest: the deepest folder of it that is there.
        problem: reason why nothing can be written there; empty: it can.
        free: bytes that can still be written.
        files_free: number of files that can still be made; None: the file system does not say.
    """

    nearest: str
    problem: str
    free: int
    files_free: int | None


@dataclass(frozen=True)
class Gpu:
    """An accelerator as ranks would see it.

    Attributes:
        name: name of the model.
        total: bytes of its memory.
        free: bytes of it that nobody uses.
    """

    name: str
    total: int
    free: int


@dataclass(frozen=True)
class HostInterface:
    """The interface over which a host would talk to the others.

    Attributes:
        name: name of the interface, as `ip link` has it.
        address: address of this host on it, IPv4 or IPv6.
        chosen_by: variable by which the user has chosen it; empty: it was found.
        problem: reason why there is none, with the names of those that there are.
    """

    name: str = ""
    address: str = ""
    chosen_by: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Limits:
    """What the system grants a process.

    Attributes:
        open_files: soft limit of the number of open files.
        locked_memory: soft limit in bytes; None: unlimited.
        shared_memory: bytes free in /dev/shm; None: there is none.
        infiniband: whether the host has InfiniBand or RoCE adapters.
        temporary: bytes free where temporary files go; None: nothing can be written there.
    """

    open_files: int
    locked_memory: int | None
    shared_memory: int | None
    infiniband: bool
    temporary: int | None


@dataclass(frozen=True)
class HostFacts:
    """What a host is and has.

    Attributes:
        machine: equal for two hosts that are one machine.
        system: name of the system: Linux x86_64.
        python: version of Python.
        packages: versions of what this package needs, and of its own code.
        paths: contents of `HostQuery.paths`.
        hub: commit of each of `HostQuery.hub`; None: it is not in the cache, or not whole.
        run: place of `HostQuery.run`.
        memory: bytes that can still be used.
        gpus: accelerators that ranks would see.
        interface: network interface towards the other hosts.
        limits: limits of its processes.
        bf16: whether its ranks' devices have units for bf16.
        rates: speed of such a device, with one thread where it is a CPU.
    """

    machine: str
    system: str
    python: str
    packages: dict[str, str]
    paths: dict[str, PathFacts]
    hub: list[str | None]
    run: RunFolder | None
    memory: int
    gpus: list[Gpu]
    interface: HostInterface
    limits: Limits
    bf16: bool
    rates: MatmulRates


@dataclass(frozen=True)
class Peer:
    """A host as others reach it.

    Attributes:
        host: name of the host.
        address: address on its interface.
        port: port at which it listens for the others.
    """

    host: str
    address: str
    port: int


@dataclass(frozen=True)
class NetworkProbe:
    """How a host is to probe the network to the others.

    Attributes:
        peers: all hosts that have an interface, the same list everywhere.
        master: name or address of the first host, where ranks meet.
        token: secret by which hosts of this probe know each other.
        probe_name: see `HostQuery`.
        run: see `HostQuery`.
        patience: seconds to wait for the others.
        stream: seconds to send at full speed.
    """

    peers: list[Peer]
    master: str
    token: str
    probe_name: str
    run: str | None
    patience: float = 10.0
    stream: float = 0.5


@dataclass(frozen=True)
class ProbeResult:
    """What a host found with the others, which are called by name.

    Attributes:
        unreached: reason by host, of those that could not be connected to.
        rendezvous_problem: reason why ranks could not meet at the first host; empty: they can.
        clock: seconds that each reached host's clock is ahead.
        bandwidth: bytes a second to the next host while all send to theirs; None: not measured.
        reverse_dns: seconds to find a name for another host's address, or so far.
        sees: hosts whose files beside the run directory this one sees.
    """

    unreached: dict[str, str]
    rendezvous_problem: str
    clock: dict[str, float]
    bandwidth: float | None
    reverse_dns: float
    sees: list[str]


def dump(value: object) -> bytes:
    """A value as JSON, on one line."""
    return TypeAdapter(type(value)).dump_json(value)


def parse(kind: type[T], text: bytes) -> T | None:
    """The value that the last line of an answer holds; None: it holds none.

    Args:
        kind: type of the value.
        text: answer of a host; a host's start-up files may have printed something before.
    """
    lines = text.strip().splitlines()
    try:
        return TypeAdapter(kind).validate_json(lines[-1] if lines else b"")
    except ValidationError:
        return None
