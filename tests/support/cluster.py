"""Several hosts on one machine: network namespaces on a bridge, each with its own sshd.

A host has an address of its own (its name in the hostfile), a name of its own (node1, ...), and a
folder `own` that the others do not see; the rest of the file system is shared. No host knows any
name of another, and is told so at once: PyTorch looks the names of peers up, once a process, and
would wait half a minute for a name server that cannot be reached.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SSHD = "/usr/sbin/sshd"
NEEDED = ("ip", "nsenter", "ssh", "ssh-keygen", "unshare")


def need_hosts() -> None:
    """Skip where hosts cannot be made."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or not os.access(SSHD, os.X_OK):
        pytest.skip(f"no {', '.join(missing) or SSHD} here")
    if os.geteuid() != 0 or subprocess.run(["unshare", "--net", "true"], check=False).returncode:
        pytest.skip("network namespaces need root")


def sh(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


@dataclass
class Cluster:
    """Hosts that are up.

    Attributes:
        folder: of keys, logs and configurations.
        count: of hosts, counted from 1.
        slots: of each in `hostfile`.
    """

    folder: Path
    count: int
    slots: int = 1
    number: int = field(init=False, default=-1)
    _sshd: list[subprocess.Popen[bytes]] = field(init=False, default_factory=list)

    @property
    def hosts(self) -> list[str]:
        """Addresses, which are the names in the hostfile."""
        return [self.address(number) for number in range(1, self.count + 1)]

    @property
    def own(self) -> Path:
        """A folder that each host has for itself."""
        return self.folder / "own"

    @property
    def ssh_config(self) -> Path:
        return self.folder / "ssh_config"

    @property
    def hostfile(self) -> Path:
        return self.folder / "hostfile"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def address(self, number: int) -> str:
        return f"10.{self.number}.0.{number}"

    def space(self, number: int) -> str:
        return f"pt{self.number}h{number}"

    def link(self, number: int) -> str:
        return f"pt{self.number}v{number}"

    def up(self) -> None:
        self.own.mkdir()
        # Nobody listens there, so that every look-up is refused.
        (self.folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        Path("/run/sshd").mkdir(exist_ok=True)
        for key in ("user", "host"):
            sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / key))
        self._bridge()
        for number in range(1, self.count + 1):
            self._host(number)
        public = " ".join((self.folder / "host.pub").read_text().split()[:2])
        self.known_hosts.write_text("".join(f"{host} {public}\n" for host in self.hosts))
        self.ssh_config.write_text(
            f"Host *\n User root\n IdentityFile {self.folder}/user\n IdentitiesOnly yes\n"
            f" UserKnownHostsFile {self.known_hosts}\n GlobalKnownHostsFile /dev/null\n"
            " StrictHostKeyChecking yes\n ServerAliveInterval 5\n"
        )
        self.hostfile.write_text("".join(f"{host} slots={self.slots}\n" for host in self.hosts))
        for number in range(1, self.count + 1):
            self._wait_for_sshd(number)

    def _bridge(self) -> None:
        for number in range(77, 250):  # the first that nobody else has
            made = subprocess.run(
                ["ip", "link", "add", f"pt{number}br", "type", "bridge"],
                check=False, capture_output=True,
            )  # fmt: skip
            if made.returncode == 0:
                self.number = number
                sh("ip", "address", "add", self.address(254) + "/24", "dev", f"pt{number}br")
                sh("ip", "link", "set", f"pt{number}br", "up")
                return
        raise AssertionError("no free bridge")

    def _host(self, number: int) -> None:
        space, link = self.space(number), self.link(number)
        sh("ip", "netns", "add", space)
        sh("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
        sh("ip", "link", "set", link, "master", f"pt{self.number}br", "up")
        sh("ip", "-n", space, "address", "add", self.address(number) + "/24", "dev", "eth0")
        sh("ip", "-n", space, "link", "set", "eth0", "up")
        sh("ip", "-n", space, "link", "set", "lo", "up")
        sh("ip", "-n", space, "route", "add", "default", "via", self.address(254))
        self.start_sshd(number)

    def start_sshd(self, number: int) -> None:
        config = self.folder / f"sshd{number}.conf"
        config.write_text(
            f"ListenAddress {self.address(number)}\nHostKey {self.folder}/host\n"
            f"AuthorizedKeysFile {self.folder}/user.pub\nPidFile none\nStrictModes no\nUsePAM no\n"
            "PermitRootLogin yes\nMaxStartups 100\nAcceptEnv LANG\n"
        )
        inside = (
            f"hostname node{number} && mount -t tmpfs -o size=256m own {self.own}"
            f" && mount --bind {self.folder}/resolv.conf /etc/resolv.conf"
            f" && exec {SSHD} -D -e -f {config}"
        )
        with (self.folder / f"sshd{number}.log").open("ab") as log:
            self._sshd.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", self.space(number), "unshare", "--uts", "--mount"]
                    + ["sh", "-c", inside],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                )
            )  # fmt: skip

    def _wait_for_sshd(self, number: int) -> None:
        for _ in range(200):
            if self.ssh(number, "true").returncode == 0:
                return
            time.sleep(0.05)
        raise AssertionError((self.folder / f"sshd{number}.log").read_text())

    def ssh(self, number: int, command: str) -> subprocess.CompletedProcess[str]:
        """Run a shell command on a host, by ssh."""
        return subprocess.run(
            ["ssh", "-F", str(self.ssh_config), self.address(number), command],
            check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def run(self, number: int, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a process on a host, without ssh."""
        inside = ["nsenter", f"--target={self._sshd[number - 1].pid}", "--net", "--uts", "--mount"]
        return subprocess.Popen([*inside, f"--wd={os.getcwd()}", *argv], **options)

    def cut(self, number: int) -> None:
        """Take a host's link down."""
        sh("ip", "link", "set", self.link(number), "down")

    def heal(self, number: int) -> None:
        """Bring it up again."""
        sh("ip", "link", "set", self.link(number), "up")

    def sent(self, number: int) -> int:
        """Bytes that have left a host so far."""
        counter = Path(f"/sys/class/net/{self.link(number)}/statistics/rx_bytes")
        return int(counter.read_text())

    def down(self) -> None:
        for number in range(1, self.count + 1):
            found = subprocess.run(
                ["ip", "netns", "pids", self.space(number)],
                check=False, capture_output=True, text=True,
            )  # fmt: skip
            subprocess.run(["kill", "-9", *found.stdout.split()], check=False, capture_output=True)
            subprocess.run(["ip", "netns", "del", self.space(number)], check=False)
        for process in self._sshd:
            process.wait()
        subprocess.run(["ip", "link", "del", f"pt{self.number}br"], check=False)
