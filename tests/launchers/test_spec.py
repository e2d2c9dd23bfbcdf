"""What a launch would run: every word intact, secrets nowhere, other hosts' names no commands."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptv2_scale.launchers import node_agent as agent
from ptv2_scale.launchers.forwarded_env import (
    Variables,
    forwarded_env,
    is_secret,
    read_deepspeed_env,
)
from ptv2_scale.launchers.hostfile import Host, read_hostfile
from ptv2_scale.launchers.node import Group, deepspeed
from ptv2_scale.launchers.options import add_options, plan_of
from ptv2_scale.launchers.remote import Ssh
from ptv2_scale.launchers.spec import Plan
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.launch_context import private_folder

GOLDEN = Path(__file__).with_name("golden")
HOSTS = (Host("n1", 2), Host("n2", 1))
NASTY = ["run=a b", "it's", '"q"', "$(touch pwned)", "`touch pwned`", "a\nb", "%h%n%%", "*", "-rf",
         "; touch pwned", "é\\", ""]  # fmt: skip


def plan(train: tuple[str, ...], folder: Path = Path("/data"), **changes: object) -> Plan:
    group = Group(HOSTS, "n1", 29400, train)
    variables = Variables({"NCCL_DEBUG": "$(touch pwned) 'x'"}, {"HF_TOKEN": "hf_verysecret"})
    options = {"fan_out": False, **changes}
    return Plan(group, folder / "my run", folder, variables, deepspeed, Ssh(), **options)


def fake(folder: Path, name: str) -> dict[str, str]:
    """A program in place of ssh or pdsh that hands the command to a shell, as sshd does."""
    script = folder / name
    script.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    script.chmod(0o755)
    seen = folder / "env"
    seen.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"open({str(folder / 'seen')!r}, 'a').write(json.dumps(sys.argv) + chr(10))\n"
    )
    seen.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize("fan_out", [False, True])
def test_words_reach_hosts_as_they_are(fan_out: bool, tmp_path: Path) -> None:
    folder = tmp_path / "with blank's $(touch pwned)"
    folder.mkdir()
    made = plan(("train", *NASTY), folder, fan_out=fan_out)
    environment = fake(tmp_path, "pdsh" if fan_out else "ssh")
    for channel in made.channels("start"):
        argv = list(channel.argv)
        if fan_out:  # what pdsh puts in; for the test, the first host's
            argv[-1] = (
                argv[-1].replace("%%", "\0").replace("%n", "0").replace("%h", "n1")
            ).replace("\0", "%")
        subprocess.run(argv, env=environment, cwd=tmp_path, check=True)
    seen = [json.loads(line) for line in (tmp_path / "seen").read_text().splitlines()]
    assert [words[1:] for words in seen] == [
        made.command("start", number, name)[1:]
        for number, name in list(enumerate(("n1", "n2")))[: len(seen)]
    ]
    assert seen[0][-len(NASTY) :] == NASTY
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize("transport", ["pdsh", "ssh"])
def test_golden(transport: str) -> None:
    made = plan(
        ("train", "my rte.yaml", "run=it's 100%", "--resume", "auto"), fan_out=transport == "pdsh"
    )
    text = made.describe("0123456789abcdef").replace(sys.executable, "PYTHON")
    assert f"{text}\n" == (GOLDEN / f"hostfile-{transport}.txt").read_text()


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_any_word_survives_a_shell(words: list[str]) -> None:
    made = plan(("train", *words))
    for node, channel in enumerate(made.channels("start")):
        assert shlex.split(channel.argv[-1]) == made.command("start", node, f"n{node + 1}")


def test_ranks_and_meeting_place() -> None:
    text = plan(("train", "recipe.yaml")).describe("start")
    assert "# n1: ranks 0 to 1" in text
    assert "# n2: rank 2" in text
    first, second = text.splitlines()[-2:]
    assert "--node_rank=0 --master_addr=n1 --master_port=29400" in first
    assert "--node_rank=1 --master_addr=n1 --master_port=29400" in second


@pytest.mark.parametrize("fan_out", [False, True])
def test_a_secret_is_on_no_command_line(fan_out: bool) -> None:
    made = plan(("train",), fan_out=fan_out)
    assert "hf_verysecret" not in made.describe("start") + repr(made)
    assert "# secrets, by a file of mode 0600: HF_TOKEN" in made.describe("start")


def test_host_keys_are_the_users_own_matter() -> None:
    options = " ".join(Ssh(Path("/c")).options).lower()
    assert "hostkey" not in options
    assert "knownhosts" not in options


def test_what_travels(tmp_path: Path) -> None:
    environ = {"NCCL_DEBUG": "INFO", "PATH": "/x", "HOME": "/x", "HF_TOKEN": "t", "MY_OWN": "1",
               "WANDB_API_KEY": "k", "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": "1",
               "HF_ENDPOINT": "https://me:pw@mirror", "NCCLX": "1"}  # fmt: skip
    found = forwarded_env(environ, tmp_path, tmp_path)
    assert dict(found.shown) == {"NCCL_DEBUG": "INFO", "TOKENIZERS_PARALLELISM": "false"}
    assert set(found.secret) == {"HF_TOKEN", "WANDB_API_KEY", "HF_ENDPOINT"}
    assert is_secret("DB_PASSWORD", "")
    assert is_secret("aws_secret_access_key", "")
    assert not is_secret("TOKENIZERS_PARALLELISM", "")


def test_ranks_do_not_ask_the_hub_unless_the_user_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    launch = argparse.ArgumentParser()
    launch.add_argument("--resume", default="never")
    add_options(launch)
    nodes = ["--nodes", "2", "--node-rank", "0", "--nproc", "1", "--master", "n1:29400"]

    def told(*given: str) -> str | None:
        made = plan_of(launch.parse_args(given), ("train",), Path("run"), lambda: 1)
        return made.variables.shown.get("HF_HUB_OFFLINE")

    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert (told(*nodes), told()) == ("1", None)
    assert Variables({}).offline().shown == {"HF_HUB_OFFLINE": "1"}
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert told(*nodes) == "0"
    assert Variables({"HF_HUB_OFFLINE": "0"}).offline().shown == {"HF_HUB_OFFLINE": "0"}


def test_deepspeed_env(tmp_path: Path) -> None:
    path = tmp_path / ".deepspeed_env"
    path.write_text("# mine\n\nNCCL_IB_HCA=mlx5_0,mlx5_1\nexport A='x y'\nB=$HOME=1\nEMPTY=\n")
    wanted = {"NCCL_IB_HCA": "mlx5_0,mlx5_1", "A": "x y", "B": "$HOME=1", "EMPTY": ""}
    assert read_deepspeed_env(path) == wanted
    assert dict(forwarded_env({}, tmp_path, tmp_path).shown) == wanted
    other = tmp_path / "other"
    path.rename(other)
    assert dict(forwarded_env({"DS_ENV_FILE": str(other)}, tmp_path, tmp_path).shown) == wanted


@pytest.mark.parametrize("line", ["no equals sign hf_secret", "1A=2", "A B=2", "=2", "$(x)=1"])
def test_a_bad_line_of_deepspeed_env_is_named_and_not_shown(line: str, tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text(f"OK=1\n{line}\n")
    with pytest.raises(UserError, match=r"env:2: expected NAME=VALUE\.$"):
        read_deepspeed_env(path)


def test_secrets_that_others_can_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("HF_TOKEN=hf_verysecret\n")
    path.chmod(0o644)
    with pytest.raises(UserError, match="chmod 600") as refused:
        read_deepspeed_env(path)
    assert "hf_verysecret" not in str(refused.value)
    path.chmod(0o600)
    assert read_deepspeed_env(path) == {"HF_TOKEN": "hf_verysecret"}


@pytest.mark.parametrize(
    "line",
    ["n1; touch pwned slots=1", "$(touch pwned) slots=1", "-oProxyCommand=touch slots=1",
     "'n 1' slots=1", "n1\tslots=1 x", "n1 slots=0", "n1 slots=1\rn2", "^file slots=1"],
)  # fmt: skip
def test_hostile_hostfiles_start_nothing(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hosts").write_text(f"{line}\n")
    done = subprocess.run(
        [sys.executable, "-m", "ptv2_scale", "launch", "demo", "--hostfile", "hosts"],
        env=fake(tmp_path, "ssh"), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("ptv2-scale: hosts:1: found")
    assert not (tmp_path / "seen").exists()
    assert not (tmp_path / "pwned").exists()
    with pytest.raises(UserError):
        read_hostfile(tmp_path / "hosts")


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(words)


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("n1 slots=2\n")
    named = ("--hostfile", str(tmp_path / "hosts"))

    def refuse(pattern: str, *words: str, where: tuple[str, ...] = named) -> None:
        with pytest.raises(UserError, match=pattern):
            plan_of(options(*where, *words), ("train",), Path("run"), lambda: 1)

    refuse("Add --hostfile", "--ssh-config", str(tmp_path / "hosts"), where=())
    refuse("Add --hostfile", "--transport", "ssh", where=("--nodes", "2", "--node-rank", "0"))
    refuse("Add --nodes", "--master", "n1:29500", where=())
    refuse("slots=N", "--nproc", "2")
    refuse("no such file", "--ssh-config", str(tmp_path / "none"))
    refuse("expected 1 to 65535", "--master", "n1:99999")
    (tmp_path / "a config").touch()
    if shutil.which("pdsh"):
        refuse("--transport ssh", "--ssh-config", str(tmp_path / "a config"))


def test_secrets_are_kept_for_the_owner_alone_and_taken_once(tmp_path: Path) -> None:
    name = f"test-{os.getpid()}"
    folder = private_folder(name, 3)
    try:
        agent.keep_secrets(name, 3, b'{"HF_TOKEN": "t"}')
        assert (folder / "secrets").stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
        ran = subprocess.run(
            [sys.executable, "-m", "ptv2_scale.launchers.node_agent", "run", name, "3", "--run",
             str(tmp_path), "--until-eof", "--", "sh", "-c",
             "echo $HF_TOKEN; ls -A $PTV2_SCALE_RANKS; exit 75"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.stdout == "t\n"
        assert ran.returncode == 75
        assert agent.Report.read(ran.stderr) == agent.Report(3, 75, 0)
        assert not folder.exists()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_folder_that_others_could_use_is_refused() -> None:
    name = f"test-{os.getpid()}"
    folder = private_folder(name, 4)
    try:
        folder.chmod(0o777)
        with pytest.raises(UserError, match="not a private folder"):
            private_folder(name, 4)
    finally:
        folder.rmdir()
