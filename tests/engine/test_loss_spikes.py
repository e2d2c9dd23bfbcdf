"""Losses that stand out, and those that do not."""

from __future__ import annotations

from ptv2_scale.engine.loss_spikes import LossSpikeDetector


def test_a_spike_is_far_above_all_losses_of_late() -> None:
    alarm = LossSpikeDetector(3.0)
    first = [alarm.update(loss) for loss in [1.0, 9.0, *[1.0] * 8]]  # too few to tell by
    assert first == [None] * 10
    assert [alarm.update(loss) for loss in [27.0, 81.1, 1.0]] == [None, 27.0, None]


def test_hard_examples_among_learnt_ones_are_no_spikes() -> None:
    alarm = LossSpikeDetector(3.0)
    assert not any(alarm.update(loss) for _ in range(20) for loss in [0.001] * 9 + [0.1])


def test_old_losses_are_forgotten_and_no_factor_is_silence() -> None:
    alarm = LossSpikeDetector(3.0)
    heard = [alarm.update(loss) for loss in [9.0, *[1.0] * 50, 3.1]]
    assert heard == [None] * 51 + [1.0]
    silent = LossSpikeDetector(None)
    assert not any(silent.update(loss) for loss in [*[1.0] * 20, 1e9])
