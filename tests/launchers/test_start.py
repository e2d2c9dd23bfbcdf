"""A start of all ranks whose hosts end without a word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ptv2_scale.launchers.events import Control, Event, OutputLine, StopRequest, ignore
from ptv2_scale.launchers.forwarded_env import Variables
from ptv2_scale.launchers.hostfile import Host
from ptv2_scale.launchers.node_agent import NodeReport
from ptv2_scale.launchers.rank_group import RankGroup
from ptv2_scale.launchers.remote import LocalHost
from ptv2_scale.launchers.spec import Channel, LaunchSpec
from ptv2_scale.launchers.start import Start


def start_of(command: str, run: Path, control: Control) -> NodeReport:
    """The end of a start on one host whose agent is a shell command."""
    agent = Channel(("n1",), ("sh", "-c", command), {})
    group = RankGroup((Host("n1", 1),), "n1", 29400, ("train",))
    spec = LaunchSpec(
        group, run, run, Variables({}), lambda *_: [], LocalHost(), lambda *_: [agent]
    )
    return Start(spec, 1.0, control).run()


@pytest.mark.parametrize("steps", [0, 7])
def test_an_agent_that_is_killed_leaves_the_steps_that_were_made(
    steps: int, tmp_path: Path
) -> None:
    # Two failures after one step end the restarts: an agent cannot say any more how far it came.
    events = [json.dumps({"event": "step", "step": step + 1}) for step in range(steps)]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{one}\n" for one in events))
    end = start_of("kill -9 $$", tmp_path, Control(ignore, StopRequest()))
    assert (end.code, end.step) == (3, steps)
    assert end.words == "n1: sh ended with -9, without a word of the ranks"


def test_a_report_is_found_behind_the_half_of_a_line(tmp_path: Path) -> None:
    # As a rank that is killed while it draws its progress bar leaves it.
    report = NodeReport(0, 75, 3, "stopped")
    (tmp_path / "said").write_text(f" 40%|####  {report.line()}\n")
    seen: list[Event] = []
    command = f"cat {tmp_path}/said >&2; exit 75"
    assert start_of(command, tmp_path, Control(seen.append, StopRequest())) == report
    assert seen == [OutputLine("stderr", " 40%|####  \n")]
