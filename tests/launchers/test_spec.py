"""What a launch would run: every word intact, secrets nowhere, other hosts' names no commands."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shells import fake_program

from ptv2_scale.launchers.backends.base import NodeStart
from ptv2_scale.launchers.backends.deepspeed import DeepSpeed
from ptv2_scale.launchers.backends.pdsh import one_for_all
from ptv2_scale.launchers.forwarded_env import Variables
from ptv2_scale.launchers.hostfile import Host
from ptv2_scale.launchers.rank_group import RankGroup
from ptv2_scale.launchers.remote import Ssh
from ptv2_scale.launchers.spec import LaunchSpec, one_each

GOLDEN = Path(__file__).with_name("golden")
HOSTS = (Host("n1", 2), Host("n2", 1))
NASTY = ["run=a b", "it's", '"q"', "$(touch pwned)", "`touch pwned`", "a\nb", "%h%n%%", "*", "-rf",
         "; touch pwned", "é\\", ""]  # fmt: skip


def launcher(group: RankGroup, node: int | str) -> list[str]:
    return DeepSpeed().render(NodeStart(group, node))


def made_of(
    train: tuple[str, ...], folder: Path = Path("/data"), fan_out: bool = False
) -> LaunchSpec:
    group = RankGroup(HOSTS, "n1", 29400, train)
    variables = Variables({"NCCL_DEBUG": "$(touch pwned) 'x'"}, {"HF_TOKEN": "hf_verysecret"})
    connect = one_for_all if fan_out else one_each
    return LaunchSpec(group, folder / "my run", folder, variables, launcher, Ssh(), connect)


@pytest.mark.parametrize("fan_out", [False, True])
def test_words_reach_hosts_as_they_are(fan_out: bool, tmp_path: Path) -> None:
    folder = tmp_path / "with blank's $(touch pwned)"
    folder.mkdir()
    made = made_of(("train", *NASTY), folder, fan_out=fan_out)
    environment = fake_program(tmp_path, "pdsh" if fan_out else "ssh")
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
    made = made_of(
        ("train", "my rte.yaml", "run=it's 100%", "--resume", "auto"), fan_out=transport == "pdsh"
    )
    text = made.describe("0123456789abcdef").replace(sys.executable, "PYTHON")
    assert f"{text}\n" == (GOLDEN / f"hostfile-{transport}.txt").read_text()


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_any_word_survives_a_shell(words: list[str]) -> None:
    made = made_of(("train", *words))
    for node, channel in enumerate(made.channels("start")):
        assert shlex.split(channel.argv[-1]) == made.command("start", node, f"n{node + 1}")


def test_ranks_and_meeting_place() -> None:
    text = made_of(("train", "recipe.yaml")).describe("start")
    assert "# n1: ranks 0 to 1" in text
    assert "# n2: rank 2" in text
    first, second = text.splitlines()[-2:]
    assert "--node_rank=0 --master_addr=n1 --master_port=29400" in first
    assert "--node_rank=1 --master_addr=n1 --master_port=29400" in second


@pytest.mark.parametrize("fan_out", [False, True])
def test_a_secret_is_on_no_command_line(fan_out: bool) -> None:
    made = made_of(("train",), fan_out=fan_out)
    assert "hf_verysecret" not in made.describe("start") + repr(made)
    assert "# secrets, by a file of mode 0600: HF_TOKEN" in made.describe("start")
