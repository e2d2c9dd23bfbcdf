"""A fixed sample of faults in every run of the tests; all of them with PTV2_SCALE_EVERYTHING=1.

`make reliability` runs all, and makes docs/reliability.md of what was seen.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import report
from job import Job
from tiny import write_recipe


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was seen, where a file was named for it."""
    seen = session.config.getoption("--seen")
    if seen:
        Path(seen).write_text(json.dumps(report.ROWS, indent=1) + "\n")


@pytest.fixture(scope="session")
def record() -> Callable[..., dict[str, Any]]:
    """Keep a row for the report: `record(section, column=value, ...)`."""
    return report.add


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job with dropout on two ranks, run to its end: the truth for all that is interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    write_recipe(
        folder,
        "bert",
        prompt={"encoder": "mlp", "hidden": 8, "dropout": 0.2, "length": 9},
        backbone={"dropout": 0.1},
        train={"steps": 16},
        watchdog={"silence": "20s", "stall": "90s"},
    )
    job = Job(folder)
    job.start().must_succeed()
    return job


@pytest.fixture(scope="session")
def stopped(whole: Job) -> Path:
    """A run of that job that was killed at step 10; copy it, do not touch it."""
    job = Job(whole.folder, name="stopped")
    group = job.start(fault={"step": 10, "do": "kill_all"})
    group.codes()
    assert job.checkpoints() == ["step-00000004", "step-00000008"]
    return job.run


@pytest.fixture
def job(whole: Job, request: pytest.FixtureRequest) -> Job:
    """The same job in a run directory of its own."""
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    return Job(whole.folder, name=f"run-{name}")


@pytest.fixture
def copied(job: Job, stopped: Path) -> Job:
    """The same, begun: killed at step 10, with checkpoints of steps 4 and 8."""
    shutil.copytree(stopped, job.run)
    return job
