"""Runs over several hosts: the same bits as on one, whatever carries the start there."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from cluster import Cluster
from hosted import Run, cmdline
from points import sample

Hosts = Callable[..., Cluster]
LAUNCH = Path(__file__).parents[2] / "launch"


@pytest.fixture(scope="module")
def on_one_host(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], bytes]:
    """The final prefix's bytes of as many ranks on this host."""
    known: dict[int, bytes] = {}

    def result(world: int) -> bytes:
        if world not in known:
            run = Run(tmp_path_factory.mktemp("one") / "run")
            run.here(world)
            known[world] = run.result()
        return known[world]

    return result


@pytest.mark.parametrize(
    ("script", "count"),
    sample([("hostfile.sh", 2), ("hostfile.sh", 3), ("ssh.sh", 2), ("ssh.sh", 3)], 1),
)
def test_the_scripts_to_copy_give_the_same_bits_as_on_one_host(
    script: str,
    count: int,
    cluster: Hosts,
    tmp_path: Path,
    on_one_host: Callable[[int], bytes],
) -> None:
    if script == "hostfile.sh" and shutil.which("pdsh") is None:
        pytest.skip("no pdsh here")
    hosts, run = cluster(count), Run(tmp_path / "run")
    argv = [LAUNCH / script, hosts.hostfile, *run.arguments, "--ssh-config", hosts.ssh_config]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    text = run.start([str(word) for word in argv], {"PATH": path}).must_succeed()
    assert f"ptv2-scale doctor: {count} hosts, " in text
    assert f"on {count} ranks" in text
    assert "Traceback" not in text
    assert "restart" not in text
    assert run.result() == on_one_host(count)


def test_a_cut_link_ends_the_run_and_the_same_command_goes_on(
    cluster: Hosts, tmp_path: Path
) -> None:
    hosts = cluster(2)
    recipe = ("demo", "train.epochs=2", "train.head_only_baseline=false", "checkpoint.every=5",
              "evaluate.every=1000", "watchdog.silence=4s", "watchdog.stall=60s")  # fmt: skip
    run = Run(tmp_path / "run", recipe)
    launched = run.launch(
        hosts, "--no-doctor", "--resume", "auto", env={"HF_TOKEN": "hf_verysecret"}
    )
    run.wait_for(6)
    found = [process for process in psutil.process_iter() if process.is_running()]
    assert not [one for one in found if "hf_verysecret" in " ".join(cmdline(one))]
    reported = [
        one
        for one in found
        if "--local_rank=0" in cmdline(one) and f"run={run.path}" in cmdline(one)
    ]
    assert [one.environ()["HF_TOKEN"] for one in reported] == ["hf_verysecret"] * 2
    hosts.cut(2)
    try:
        assert launched.code(90) == 3, launched.text()
    finally:
        hosts.heal(2)
    assert "hf_verysecret" not in launched.text()
    made = max(run.steps())
    said = f"rank 1 on {hosts.hosts[1]} has not answered for 4 s"
    assert launched.text().count(said) == 1, launched.text()
    assert "ptv2-scale launch: the run failed" in launched.text()
    assert run.status()["exit_code"] == 3
    again = run.launch(hosts, "--no-doctor", "--resume", "auto")
    run.wait_for(made + 3)
    again.process.send_signal(signal.SIGTERM)
    assert again.code() == 75, again.text()
    assert "resumed from" in again.text()
    assert run.status()["exit_code"] == 75
