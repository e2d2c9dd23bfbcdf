"""Progress where no terminal is: plain lines, the time that is left by the speed so far."""

from __future__ import annotations

import pytest

from ptv2_scale.runtime import progress


def test_lines_with_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Resumed at 2 of 10 GB, 0.5 GB in each 5 s: two seconds for a GB in every second line."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    tell = progress.Progress()
    tell(2_000_000_000, 10_000_000_000)
    for half in range(5, 10):
        now[0] += 5.0
        tell(half * 500_000_000, 10_000_000_000)
    now[0] += 1.0
    tell(10_000_000_000, 10_000_000_000)
    now[0] = 200.0
    tell = progress.Progress("rows")
    tell(100, 1000)  # the answers of an interrupted prediction
    for done in (300, 1000):
        now[0] += 10.0
        tell(done, 1000)
    assert capfd.readouterr().err.splitlines() == [
        "3.00 of 10.00 GB, 0.10 GB/s, about 70 s left",
        "4.00 of 10.00 GB, 0.10 GB/s, about 60 s left",
        "10.00 of 10.00 GB, 0.31 GB/s",
        "300 of 1000 rows, 20.0 a second, about 35 s left",
        "1000 of 1000 rows, 45.0 a second",
    ]
