"""Draws of tokens, against probabilities worked out by hand."""

from __future__ import annotations

import random

import pytest
import torch

from ptv2_scale.backbones.sampling import RowDraws, Sampling

NO_TEXT = torch.empty(0, dtype=torch.long)
LOGITS = torch.tensor([0.5, 0.125, 0.25, 0.0625, 0.0625]).log()


def drawn(settings: Sampling, rows: list[int], tokens: int) -> torch.Tensor:
    """Tokens [tokens, rows], each drawn from the same logits."""
    draw = RowDraws(settings, rows)
    scores = LOGITS.expand(len(rows), -1)
    return torch.stack([draw(NO_TEXT, scores).argmax(dim=-1) for _ in range(tokens)])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Sampling(seed=1), [1 / 2, 1 / 8, 1 / 4, 1 / 16, 1 / 16]),
        (Sampling(top_k=2, seed=2), [2 / 3, 0, 1 / 3, 0, 0]),
        (Sampling(top_p=0.8, seed=3), [4 / 7, 1 / 7, 2 / 7, 0, 0]),
        # Probabilities to the power of 2: 64, 4, 16, 1 and 1 parts of 86.
        (Sampling(temperature=0.5, seed=4), [64 / 86, 4 / 86, 16 / 86, 1 / 86, 1 / 86]),
    ],
)
def test_tokens_come_as_often_as_they_should(settings: Sampling, expected: list[float]) -> None:
    counts = torch.bincount(drawn(settings, list(range(20)), 200).flatten(), minlength=5)
    # Four standard deviations of a share out of 4,000 draws are 0.032 at most.
    assert (counts / 4000).tolist() == pytest.approx(expected, abs=0.032)
    assert [count > 0 for count in counts.tolist()] == [chance > 0 for chance in expected]


def test_a_row_draws_the_same_in_any_batch() -> None:
    settings = Sampling(temperature=3.0, seed=5)
    alone = drawn(settings, [7], 40)[:, 0]
    assert torch.equal(drawn(settings, [3, 7, 1], 40)[:, 1], alone)
    assert not torch.equal(drawn(settings, [8], 40)[:, 0], alone)
    assert not torch.equal(drawn(Sampling(temperature=3.0, seed=6), [7], 40)[:, 0], alone)


def test_a_draw_inverts_the_distribution_function() -> None:
    source, sums = random.Random("9 2"), [0.5, 0.625, 0.875, 0.9375, 1.0]
    expected = [next(n for n, top in enumerate(sums) if u < top) for u in _numbers(source, 50)]
    assert drawn(Sampling(seed=9), [2], 50)[:, 0].tolist() == expected


def _numbers(source: random.Random, count: int) -> list[float]:
    return [source.random() for _ in range(count)]
