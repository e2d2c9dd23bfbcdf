"""Trackers by name, as accelerate knows them."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS
from accelerate.utils.imports import is_tensorboard_available, is_wandb_available

from ptv2_scale.config.trackers import TRACKERS, check_trackers
from ptv2_scale.runtime.errors import UserError


def test_they_are_accelerates() -> None:
    assert {str(name) for name in LOGGER_TYPE_TO_CLASS} <= set(TRACKERS)


@pytest.mark.parametrize(
    ("name", "installed"),
    [("tensorboard", is_tensorboard_available()), ("wandb", is_wandb_available())],
)
def test_installed_as_accelerate_sees_it(name: str, installed: bool) -> None:
    wanted = nullcontext() if installed else pytest.raises(UserError, match="is not installed")
    with wanted:
        check_trackers([name])


def test_all_that_is_wrong_is_named() -> None:
    with pytest.raises(UserError) as caught:
        check_trackers(["tensorboards", "clearml"])
    first, second = str(caught.value).splitlines()
    assert first.startswith("trackers: no tracker 'tensorboards'. Did you mean 'tensorboard'?")
    assert "'clearml' is not installed" in second


def test_a_folder_of_its_name_is_no_package(tmp_path: Path) -> None:
    """Such as a tracker leaves where it has run."""
    (tmp_path / "clearml").mkdir()
    code = "from ptv2_scale.config.trackers import check_trackers; check_trackers(['clearml'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "'clearml' is not installed" in done.stderr
