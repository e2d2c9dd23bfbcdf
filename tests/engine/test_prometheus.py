"""The file for Prometheus against the text format's own grammar, read by hand."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from ptv2_scale.engine import prometheus
from ptv2_scale.engine.prometheus import PrometheusFile

SAMPLE = re.compile(r'([a-z0-9_]+)\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+)\} (\S+)')


def samples(path: Path) -> dict[tuple[str, str], float]:
    """Values by name and labels; every line must be one the format allows."""
    found, described = {}, set()
    text = path.read_text()
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# "):
            described.add(line.split()[2])
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        assert match[1] in described
        found[match[1].removeprefix("ptv2_scale_"), match[2]] = float(match[3])
    return found


STEP = {"event": "step", "step": 3, "loss": 0.5, "learning_rate": 1e-05, "gradient_norm": 2.0,
        "seconds": 0.25, "examples": 6, "epoch": 0.75, "wall_seconds": 9.5}  # fmt: skip
EVALUATION = {"event": "evaluation", "step": 4, "rte/f1": 0.25, "accuracy": float("nan"),
              "validation_loss": float("inf"), "epoch": 1.0, "wall_seconds": 11.0}  # fmt: skip


def test_the_newest_numbers_with_their_labels(tmp_path: Path) -> None:
    path = tmp_path / "run.prom"
    file = PrometheusFile(path, 'a "run"\\\n', pytest.fail)
    file.record(STEP)
    own = r'run="a \"run\"\\\n"'
    found = samples(path)
    assert found.pop(("updated_seconds", own)) == pytest.approx(time.time(), abs=60)
    assert found == {
        ("step", own): 3, ("loss", own): 0.5, ("learning_rate", own): 1e-05,
        ("gradient_norm", own): 2, ("step_seconds", own): 0.25, ("epoch", own): 0.75,
        ("wall_seconds", own): 9.5, ("running", own): 1,
    }  # fmt: skip
    file.record(EVALUATION)
    found = samples(path)
    assert found["step", own] == 4
    assert found["validation_metric", f'{own},metric="rte/f1"'] == 0.25
    assert found["validation_loss", own] == float("inf")
    assert str(found["validation_metric", f'{own},metric="accuracy"']) == "nan"
    file.finish()
    assert samples(path)["running", own] == 0
    assert [one.name for one in tmp_path.iterdir()] == ["run.prom"]


def test_steps_write_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(prometheus.time, "monotonic", lambda: now[0])
    file, path = PrometheusFile(tmp_path / "run.prom", "a", pytest.fail), tmp_path / "run.prom"
    steps = []
    for step in range(1, 8):
        now[0] += 2.0
        file.record({**STEP, "step": step})
        steps.append(samples(path)["step", 'run="a"'])
    assert steps == [1, 1, 1, 4, 4, 4, 7]


def test_a_folder_that_is_not_there_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    file = PrometheusFile(tmp_path / "nowhere" / "run.prom", "a", said.append)
    file.record(EVALUATION)
    file.finish()
    (warning,) = said
    assert warning.startswith(f"warning: train.prometheus: {tmp_path / 'nowhere' / 'run.prom'}: ")
