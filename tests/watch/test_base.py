"""The status that a watch leaves of a run that has failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.status import read_status
from ptv2_scale.watch.in_process import InProcessWatch


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (KeyError("label"), 3, "KeyError: 'label'"),
        (AssertionError(), 3, "AssertionError"),
        (UserError("train.lr: too large.\nmore"), 2, "train.lr: too large."),
    ],
)
def test_the_reason_is_the_last_line_of_a_traceback_or_what_a_user_is_told(
    error: Exception, code: int, reason: str, tmp_path: Path
) -> None:
    watch = InProcessWatch()
    watch.attach(tmp_path, lambda: None)
    watch.fail(error)
    status = read_status(tmp_path)
    assert status is not None
    assert (status.state, status.exit_code, status.reason) == ("failed", code, reason)
