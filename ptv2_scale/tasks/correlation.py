"""Correlations of scores: Pearson's, and Spearman's, which is Pearson's of the ranks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pearson(truth: Sequence[float], predicted: Sequence[float]) -> float:
    """Pearson's correlation, -1 to 1; 0 where either side is constant, for nothing follows."""
    return _pearson(*_values(truth, predicted))


def spearman(truth: Sequence[float], predicted: Sequence[float]) -> float:
    """Spearman's rank correlation; equal scores share the mean of their ranks."""
    return _pearson(*map(_ranks, _values(truth, predicted)))


def _values(*scores: Sequence[float]) -> list[Tensor]:
    return [torch.tensor(one, dtype=torch.float64) for one in scores]


def _pearson(truth: Tensor, predicted: Tensor) -> float:
    one, other = truth - truth.mean(), predicted - predicted.mean()
    spread = float(one.norm() * other.norm())
    return float(one @ other) / spread if spread > 0 else 0.0


def _ranks(values: Tensor) -> Tensor:
    _, places, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    ranks: Tensor = (last - (counts - 1) / 2)[places]
    return ranks
