"""A real Slurm of some nodes on this machine, with a munge of its own; nothing outside `folder`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

DAEMONS = ("munged", "slurmctld", "slurmd")
# Node names are addresses, so that ranks find each other without a word in /etc/hosts.
CONFIGURATION = """\
ClusterName=ptv2
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# A job that is queued again waits until the old one's credential has expired.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobRequeue=1
KillWait=30
OverTimeLimit=0
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
"""


def need_slurm() -> None:
    """Skip where Slurm cannot be brought up."""
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    missing = [name for name in (*DAEMONS, "sbatch", "srun") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)} here")
    if os.geteuid() != 0:
        pytest.skip("Slurm's daemons need root")


@dataclass
class SlurmCluster:
    """A Slurm that is up.

    Attributes:
        folder: of its state and logs.
        count: of nodes.
    """

    folder: Path
    count: int = 2
    _daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What its commands need."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def up(self) -> None:
        for name in ("state", "log"):
            (self.folder / name).mkdir()
        self._munge()
        self._configure()
        self._start("slurmctld", "-D", "-c")
        for node in self.nodes:
            self._start("slurmd", "-D", "-N", node, log=f"slurmd.{node}")
        self._wait(lambda: self.ask("sinfo", "-h", "-t", "idle", "-o", "%D") == str(self.count))

    @property
    def nodes(self) -> list[str]:
        return [f"127.0.0.{number}" for number in range(1, self.count + 1)]

    def _munge(self) -> None:
        self.folder.chmod(0o755)
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        files = {name: f"{self.folder}/munge.{name}" for name in ("socket", "pid", "log", "seed")}
        self._start(
            *("munged", "--foreground", "--force", f"--key-file={key}"),
            *(f"--socket={files['socket']}", f"--pid-file={files['pid']}"),
            *(f"--log-file={files['log']}", f"--seed-file={files['seed']}"),
        )
        self._wait(Path(files["socket"]).exists)

    def _configure(self) -> None:
        ports = free_ports(self.count + 1)
        host = socket.gethostname().partition(".")[0]
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2"
            for node, port in zip(self.nodes, ports[1:], strict=True)
        )
        (self.folder / "slurm.conf").write_text(
            CONFIGURATION.format(host=host, port=ports[0], folder=self.folder, nodes=nodes)
        )

    def _start(self, *argv: str, log: str | None = None) -> None:
        with (self.folder / "log" / (log or argv[0])).open("ab") as output:
            self._daemons.append(
                subprocess.Popen(
                    argv, env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL,
                    stdout=output, stderr=output, start_new_session=True,
                )
            )  # fmt: skip

    def _wait(self, there: Callable[[], bool], timeout: float = 60) -> None:
        until = time.monotonic() + timeout
        while not there():
            assert time.monotonic() < until, self.logs()
            time.sleep(0.2)

    def ask(self, *argv: str) -> str:
        """What a command of Slurm's prints; nothing where it fails."""
        made = subprocess.run(
            argv, env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        return made.stdout.strip() if made.returncode == 0 else ""

    def tell(self, *argv: str) -> None:
        """Run a command of Slurm's that must succeed."""
        subprocess.run(
            argv, env={**os.environ, **self.environment}, check=True, capture_output=True,
            timeout=30,
        )  # fmt: skip

    def job(self, number: str) -> dict[str, str]:
        """What Slurm says of a job."""
        words = self.ask("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.partition("=")[::2] for word in words)

    def run_time(self, number: str) -> int:
        """Seconds since a job began."""
        hours, minutes, seconds = map(int, self.job(number)["RunTime"].split(":"))
        return 3600 * hours + 60 * minutes + seconds

    def limit(self, number: str, minutes: int) -> None:
        """Set a job's time limit."""
        self.tell("scontrol", "update", f"JobId={number}", f"TimeLimit={minutes}")

    def wait_for_state(self, number: str, *states: str, timeout: float = 150) -> dict[str, str]:
        """Wait until a job is in one of some states, and say what Slurm says of it."""
        until = time.monotonic() + timeout
        while (found := self.job(number)).get("JobState") not in states:
            assert time.monotonic() < until, f"{found}\n{self.logs()}"
            time.sleep(0.2)
        return found

    def wait_until_gone(self, number: str) -> None:
        """Wait until nothing of a job runs or waits any more."""
        self._wait(lambda: not self.ask("squeue", "--noheader", f"--jobs={number}"))

    def logs(self) -> str:
        texts = (self.folder / "log").iterdir()
        return "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in texts)

    def down(self) -> None:
        self.ask("scancel", "--signal=KILL", "--full", "--user=root")
        self.ask("scancel", "--user=root")
        for process in reversed(self._daemons):
            process.terminate()
        for process in self._daemons:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
