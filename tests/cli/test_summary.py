"""The closing words of a run are honest about what it did not beat."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ptv2_scale.cli.summary import summary, verdict
from ptv2_scale.runtime.result import Result

GOOD = Result(
    task="glue/cola", split="validation", metric="matthews", value=0.4, trivial=0.0,
    trivial_answer="the most frequent class", best_step=5,
    steps=9, trained_parameters=25, backbone_parameters=975, seconds=61.2,
    peak_memory_bytes=3 << 20, ranks=2, head_only=0.1,
)  # fmt: skip


def test_a_gain_is_told_with_what_it_is_a_gain_over() -> None:
    text = summary(GOOD, Path("runs/x"))
    assert "matthews 0.4000; the most frequent class alone scores 0.0000" in text
    assert "a head alone on the same frozen backbone scores 0.1000" in text
    assert "trained 25 of 1,000 parameters (2.50%) on 2 ranks in 61 s, at most 3 MiB a rank" in text
    assert "NO" not in text


def test_no_gain_is_said() -> None:
    assert "NO BETTER" in verdict("accuracy", 0.5, 0.5, "the most frequent class")
    assert "NO GAIN" in summary(replace(GOOD, value=0.1), Path("runs/x"))
    assert "head alone" not in summary(replace(GOOD, head_only=None), Path("runs/x"))
