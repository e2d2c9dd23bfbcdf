"""What a launch runs on each host, as pure functions of what is to be done; nothing is started."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ptv2_scale.launchers.forwarded_env import Variables
from ptv2_scale.launchers.rank_group import RankGroup
from ptv2_scale.launchers.remote import Remote
from ptv2_scale.runtime.launch_context import HOST

AGENT = "ptv2_scale.launchers.node_agent"

# (the ranks' group, number of this host) -> argv of a launcher of this host's ranks
NodeLauncher = Callable[[RankGroup, "int | str"], list[str]]
# (the launch, name of this start) -> what this host runs to start all hosts
Connect = Callable[["LaunchSpec", str], "list[Channel]"]


def on_host(
    host: str, folder: Path, variables: Variables, module: str, *arguments: str
) -> list[str]:
    """A call of a module on a host, in the ranks' folder and environment."""
    values = {**variables.shown, HOST: host}
    return [
        *("env", "-C", str(folder)),
        *(f"{key}={value}" for key, value in sorted(values.items())),
        *(sys.executable, "-m", module, *arguments),
    ]


@dataclass(frozen=True)
class Channel:
    """One process of the launching host, through which hosts are started and heard.

    Attributes:
        hosts: it serves, by name.
        argv: of the process.
        environment: of the process, beside what it inherits.
    """

    hosts: tuple[str, ...]
    argv: tuple[str, ...]
    environment: Mapping[str, str]


def one_each(spec: LaunchSpec, name: str) -> list[Channel]:
    """A process for each host; `name` is that of this start."""
    return [
        Channel((host,), tuple(spec.remote.argv(host, spec.command(name, node, host))), {})
        for node, host in enumerate(spec.hosts)
    ]


@dataclass(frozen=True)
class LaunchSpec:
    """A start of all ranks, the same command on every host.

    Attributes:
        group: the ranks, where they meet, and what they run.
        run: the run directory.
        folder: working directory on every host.
        variables: environment variables of the ranks.
        node_launcher: starts one host's ranks.
        remote: how hosts are reached.
        connect: which processes of this host start all hosts.
        first: number of the first rank; None: torchrun finds it.
        files: content of files that are written before the start, by path.
    """

    group: RankGroup
    run: Path
    folder: Path
    variables: Variables
    node_launcher: NodeLauncher
    remote: Remote
    connect: Connect = one_each
    first: int | None = 0
    files: Mapping[Path, str] = field(default_factory=dict)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of all hosts, the first rank's first."""
        return tuple(host.name for host in self.group.hosts)

    def resumed(self, resume: str) -> LaunchSpec:
        """The same, to begin as `--resume` says."""
        train = (*self.group.train, "--resume", resume)
        return replace(self, group=replace(self.group, train=train))

    def agent(self, host: str, *arguments: str) -> list[str]:
        """A call of the agent on a host, in the ranks' folder and environment."""
        return on_host(host, self.folder, self.variables, AGENT, *arguments)

    def command(self, name: str, node: int | str, host: str) -> list[str]:
        """What a host runs.

        Args:
            name: of this start.
            node: number of the host, or the word that pdsh puts it in for.
            host: its name, or pdsh's word for that.
        """
        return [
            *self.agent(host, "run", name, str(node), "--run", str(self.run), "--until-eof", "--"),
            *self.node_launcher(self.group, node),
        ]

    def channels(self, name: str) -> list[Channel]:
        """What this host runs to start all hosts."""
        return self.connect(self, name)

    def describe(self, name: str) -> str:
        """The same for people: hosts, variables and commands, nothing of them started."""
        lines = [f"# {host.name}: {_ranks(self, n)}" for n, host in enumerate(self.group.hosts)]
        secret = ", ".join(sorted(self.variables.secret)) or "none"
        lines += [f"# run directory: {self.run}", f"# secrets, by a file of mode 0600: {secret}"]
        for path, content in self.files.items():
            lines += [f"# {path}:", *(f"#   {line}" for line in content.splitlines())]
        for channel in self.channels(name):
            own = [f"{key}={shlex.quote(value)}" for key, value in channel.environment.items()]
            lines.append(" ".join([*own, shlex.join(channel.argv)]))
        return "\n".join(lines)


def _ranks(spec: LaunchSpec, node: int) -> str:
    hosts = spec.group.hosts
    if spec.first is None:
        return f"{hosts[node].slots} ranks, numbered by torchrun"
    first = spec.first + sum(host.slots for host in hosts[:node])
    last = first + hosts[node].slots - 1
    return f"rank {first}" if first == last else f"ranks {first} to {last}"
