"""The script of a Slurm job: as it is kept in golden files, and run against fakes of Slurm."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from nodes import golden
from slurm_script_jobs import FULL, JOBS, PLAIN

from ptv2_scale.config import Slurm
from ptv2_scale.launchers.forwarded_env import Variables
from ptv2_scale.launchers.slurm_script import SlurmJob, render
from ptv2_scale.runtime.errors import UserError

HOSTILE = ["a b", "it's", 'say "x"', "$(touch hit)", "`touch hit`", "two\nlines", "#SBATCH --x",
           "*", "a\\b", "$HOME", "!!", "{}", "%j", "\u00e9", "-x", ";touch hit", "|"]  # fmt: skip
# The user's own words may look like slips, and the user's own files are not there.
SHELLCHECK = ("shellcheck", "--exclude=SC1090,SC2016")


@pytest.mark.parametrize("name", JOBS)
def test_scripts_are_as_they_are_kept(name: str) -> None:
    assert render(JOBS[name]) == golden(f"slurm-{name}.sbatch")


@pytest.mark.parametrize("name", JOBS)
def test_scripts_are_good_bash(name: str, tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_text(render(JOBS[name]))
    subprocess.run(["bash", "-n", str(path)], check=True)
    if shutil.which("shellcheck"):
        checked = subprocess.run([*SHELLCHECK, str(path)], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout


def test_no_secret_is_in_the_script() -> None:
    script = render(FULL)
    assert "hf_secret" not in script
    assert "#SBATCH --export=HF_TOKEN\n" in script


FAKE = f"""#!{sys.executable}
import json, os, signal, sys, time
name = os.path.basename(sys.argv[0])
with open("calls", "a") as file:
    keys = ("MASTER_ADDR", "MASTER_PORT", "HF_HOME", "SLURM_ARRAY_TASK_ID")
    found = {{key: os.environ.get(key) for key in keys}}
    file.write(json.dumps([name, sys.argv[1:], found]) + "\\n")
if name == "scontrol" and sys.argv[1] == "show":
    print("node7\\nnode8")
if name == "srun":
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, lambda heard, _: open(signal.Signals(heard).name, "a").write("x"))
    open("ready", "w").close()
    until = time.monotonic() + 30
    while os.path.exists("hold") and not os.path.exists("SIGUSR1") and time.monotonic() < until:
        time.sleep(0.01)
    sys.exit(int(open("code").read()))
"""


@dataclass
class Fakes:
    """A folder in which a script finds a fake srun and scontrol, which write down their calls."""

    folder: Path

    def __post_init__(self) -> None:
        for name in ("srun", "scontrol"):
            path = self.folder / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(FAKE)
            path.chmod(0o755)

    def start(self, job: SlurmJob, code: int = 0, **variables: str) -> subprocess.Popen[bytes]:
        (self.folder / "code").write_text(str(code))
        (self.folder / "script").write_text(render(job))
        environment = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "SLURM_JOB_ID": "25001",
            "SLURM_JOB_NODELIST": "node[7-8]", **variables,
        }  # fmt: skip
        return subprocess.Popen(["bash", "script"], cwd=self.folder, env=environment)

    def run(self, job: SlurmJob, code: int = 0, **variables: str) -> int:
        return self.start(job, code, **variables).wait(60)

    def calls(self, name: str) -> list[Any]:
        lines = (self.folder / "calls").read_text().splitlines()
        return [call[1:] for call in map(json.loads, lines) if call[0] == name]

    def trained(self) -> list[str]:
        """What came behind `python -m ptv2_scale`."""
        (argv, _), = self.calls("srun")  # fmt: skip
        return list(argv[argv.index("ptv2_scale") + 1 :])

    def requeued(self) -> bool:
        return any(argv == ["requeue", "25001"] for argv, _ in self.calls("scontrol"))


@pytest.fixture
def fakes(tmp_path: Path) -> Fakes:
    return Fakes(tmp_path)


def test_words_and_variables_arrive_as_they_are(fakes: Fakes) -> None:
    words = tuple(f"key={word}" for word in HOSTILE)
    variables = Variables({"HF_HOME": "".join(HOSTILE)})
    assert fakes.run(replace(PLAIN, train=("train", *words), variables=variables)) == 0
    assert fakes.trained() == ["train", *words, "--resume", "never"]
    assert fakes.calls("srun")[0][1] == {
        "MASTER_ADDR": "node7", "MASTER_PORT": "21001", "HF_HOME": "".join(HOSTILE),
        "SLURM_ARRAY_TASK_ID": None,
    }  # fmt: skip
    assert not (fakes.folder / "hit").exists()


def test_each_job_of_an_array_gets_its_own_words(fakes: Fakes) -> None:
    trials = tuple((f"key={word}", f"run=r{number}") for number, word in enumerate(HOSTILE))
    assert fakes.run(replace(PLAIN, trials=trials), SLURM_ARRAY_TASK_ID="5") == 0
    assert fakes.trained() == ["train", "rte.yaml", *trials[5], "--resume", "never"]


def test_a_launcher_on_each_node_gets_words_as_they_are(fakes: Fakes) -> None:
    words = tuple(f"key={word}" for word in HOSTILE)
    job = replace(PLAIN, settings=Slurm(nodes=2, launcher="node"), train=("train", *words))
    assert fakes.run(replace(job, python=f"{fakes.folder}/python", run=Path("it's $(id)"))) == 0
    (argv, _), = fakes.calls("srun")  # fmt: skip
    shown = fakes.folder / "python"
    shown.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    shown.chmod(0o755)
    environment = {"SLURM_JOB_ID": "25001", "SLURM_NODEID": "1", "MASTER_ADDR": "node7",
                   "MASTER_PORT": "21001", "PATH": os.environ["PATH"]}  # fmt: skip
    made = subprocess.run(argv[argv.index("bash") :], env=environment, capture_output=True)
    reported = made.stdout.decode().split("\0")[:-1]
    assert reported[:7] == [
        *("-m", "ptv2_scale.launchers.node_agent", "run", "slurm-25001-0", "1"),
        *("--run", "/home/me/work/it's $(id)"),
    ]
    assert "--node_rank=1" in reported
    assert reported[reported.index("ptv2_scale") + 1 :] == ["train", *words, "--resume", "never"]


@pytest.mark.parametrize(
    ("code", "restarts", "comes_back"),
    [(0, 0, False), (2, 0, False), (3, 0, False), (75, 0, True), (75, 2, True), (75, 3, False),
     (138, 0, False)],
)  # fmt: skip
def test_a_job_comes_back_after_75_so_many_times(
    code: int, restarts: int, comes_back: bool, fakes: Fakes
) -> None:
    job = replace(PLAIN, settings=Slurm(requeues=3))
    count = {"SLURM_RESTART_COUNT": str(restarts)} if restarts else {}
    assert fakes.run(job, code, **count) == code
    assert fakes.requeued() == comes_back
    assert fakes.trained()[-1] == ("auto" if restarts else "never")


@pytest.mark.parametrize(
    ("number", "code", "comes_back"),
    [(signal.SIGUSR1, 75, True), (signal.SIGUSR1, 138, True), (signal.SIGTERM, 75, False)],
)
def test_signals_reach_the_ranks_and_only_a_warning_brings_the_job_back(
    number: signal.Signals, code: int, comes_back: bool, fakes: Fakes
) -> None:
    (fakes.folder / "hold").touch()
    shell = fakes.start(PLAIN, code)
    while not (fakes.folder / "ready").exists():
        time.sleep(0.01)
    shell.send_signal(number)
    assert shell.wait(60) == code
    # srun takes SIGTERM as an order to kill its ranks, so it is not passed on as such.
    assert not (fakes.folder / "SIGTERM").exists()
    assert fakes.requeued() == comes_back


def test_a_warning_that_comes_before_the_ranks_a_second_time_is_a_failure(fakes: Fakes) -> None:
    (fakes.folder / "hold").touch()
    shell = fakes.start(PLAIN, 138, SLURM_RESTART_COUNT="1")
    while not (fakes.folder / "ready").exists():
        time.sleep(0.01)
    shell.send_signal(signal.SIGUSR1)
    assert shell.wait(60) == 3
    assert not fakes.requeued()


def test_a_warning_during_the_setup_is_not_lost(fakes: Fakes) -> None:
    (fakes.folder / "hold").touch()
    setup = ["touch setup; while [ -e wait ]; do sleep 0.05; done"]
    (fakes.folder / "wait").touch()
    shell = fakes.start(replace(PLAIN, settings=Slurm(setup=setup)), 75)
    while not (fakes.folder / "setup").exists():
        time.sleep(0.01)
    shell.send_signal(signal.SIGUSR1)
    (fakes.folder / "wait").unlink()
    assert shell.wait(60) in (75, 138)  # 138: srun was not ready for signals yet
    assert fakes.requeued()


@pytest.mark.parametrize("code", [0, 2])
def test_no_rank_starts_where_the_doctor_finds_something(code: int, fakes: Fakes) -> None:
    python = fakes.folder / "python"
    python.write_text(f'#!/bin/sh\necho "$@" > doctor; exit {code}\n')
    python.chmod(0o755)
    assert fakes.run(replace(PLAIN, doctor=True, python=str(python))) == code
    words = "-m ptv2_scale doctor rte.yaml slurm.ranks_per_node=1 --slurm\n"
    assert (fakes.folder / "doctor").read_text() == words
    assert len(fakes.calls("srun")) == (code == 0)
    assert not fakes.requeued()


@pytest.mark.parametrize(
    "change",
    [{"folder": Path('/home/"me"')}, {"folder": Path("/home/a\\b")}, {"run": Path("two\nlines")},
     {"train": ("train", "a\0b")}, {"variables": Variables({"HF_A B": ""})},
     {"variables": Variables({}, {"HF_KEY;x": ""})}],
)  # fmt: skip
def test_what_no_script_can_hold_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        render(replace(PLAIN, **change))


@pytest.mark.parametrize("key", ["partition", "account", "qos", "constraint", "time", "mem"])
@pytest.mark.parametrize("value", ["", "a b", "a\n#SBATCH --x", "a'b", 'a"b', "$(id)", "-x", "\0"])
def test_settings_cannot_leave_their_line(key: str, value: str) -> None:
    with pytest.raises(ValueError, match=key):
        Slurm.model_validate({key: value})
