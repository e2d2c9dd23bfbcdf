"""How the next token is drawn where it is not simply the likeliest one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from ptv2_scale.runtime.errors import UserError


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn; the filters act in this order.

    Attributes:
        temperature: above 0; logits are divided by it.
        top_k: only the k likeliest tokens are drawn; None: all.
        top_p: only the likeliest tokens that together have this probability; 1: all.
        seed: of the draws.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what draws nothing: a `UserError`."""
        allowed = self.temperature > 0 and 0 < self.top_p <= 1
        if not allowed or (self.top_k is not None and self.top_k < 1):
            raise UserError(
                f"{self}: allowed are a temperature above 0, top_k of 1 or more, and top_p above 0"
                " and up to 1."
            )

    def filtered(self, logits: Tensor) -> Tensor:
        """Logits [batch, vocabulary] with those of tokens never drawn at -inf."""
        no_text = torch.empty(0, dtype=torch.long)
        logits = TemperatureLogitsWarper(float(self.temperature))(no_text, logits)
        if self.top_k is not None:
            logits = TopKLogitsWarper(self.top_k)(no_text, logits)
        if self.top_p < 1.0:
            logits = TopPLogitsWarper(self.top_p)(no_text, logits)
        return logits


class RowDraws:
    """Draws a token for every row, each row with random numbers of its own: a logits processor.

    A row's draws follow from the seed and its number alone, so they are the same in any batch and
    on any number of ranks. A token is drawn by inverting the distribution function: one uniform
    number a token.

    Args:
        sampling: what is drawn from.
        rows: number of each row of the batch.
    """

    def __init__(self, sampling: Sampling, rows: Sequence[int]) -> None:
        self._sampling = sampling
        self._sources = [random.Random(f"{sampling.seed} {row}") for row in rows]  # noqa: S311

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [batch, vocabulary] whose only token that is not at -inf was drawn."""
        chances = self._sampling.filtered(scores).double().softmax(dim=-1).cumsum(dim=-1)
        uniform = chances.new_tensor([[source.random()] for source in self._sources])
        drawn = torch.searchsorted(chances, uniform * chances[:, -1:], right=True)
        return torch.full_like(scores, -torch.inf).scatter(1, drawn, 0.0)
