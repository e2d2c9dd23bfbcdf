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
    peak_memory_bytes=3 << 20, ranks=2, head_only=0.1, metrics={"matthews": 0.4, "accuracy": 0.75},
    validation_loss=0.51234, examples_per_second=12.34, tokens_per_second=567.8,
    hardware={"devices": {"cpu": 2}, "hosts": 1, "cpu": "A CPU"}, versions={"torch": "2.8"},
)  # fmt: skip


def test_a_gain_is_told_with_what_it_is_a_gain_over() -> None:
    text = summary(GOOD, Path("runs/x"))
    assert "matthews 0.4000; the most frequent class alone scores 0.0000" in text
    assert "a head alone on the same frozen backbone scores 0.1000" in text
    assert "trained 25 of 1,000 parameters (2.50%) on 2 ranks in 61 s, at most 3 MiB a rank" in text
    assert "NO" not in text
    assert "validation: matthews 0.4000, accuracy 0.7500, loss 0.5123\n" in text
    assert "12.3 examples and 568 tokens a second on 2 x cpu (A CPU; 1 host)\ntorch 2.8\n" in text


def test_no_gain_is_said() -> None:
    assert "NO BETTER" in verdict("accuracy", 0.5, 0.5, "the most frequent class")
    assert "NO GAIN" in summary(replace(GOOD, value=0.1), Path("runs/x"))
    assert "head alone" not in summary(replace(GOOD, head_only=None), Path("runs/x"))


def test_a_method_that_trains_nothing_has_no_speed() -> None:
    still = replace(GOOD, steps=0, examples_per_second=None, tokens_per_second=None)
    assert "a second" not in summary(still, Path("runs/x"))
