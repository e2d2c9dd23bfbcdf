"""The choice of the next token: the likeliest, or one that is drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

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
        seed: of the draws; a batch's draws come from one generator, row by row.
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


@dataclass
class Choice:
    """Chooses the next token of every text.

    Attributes:
        vocabulary: ids from here on, the padding of the embedding, are never chosen.
        sampling: None: the likeliest token.
    """

    vocabulary: int
    sampling: Sampling | None
    _generator: torch.Generator | None = field(default=None, init=False)

    def __call__(self, logits: Tensor) -> Tensor:
        """[batch, vocabulary] -> [batch]."""
        logits = logits[:, : self.vocabulary].float()
        if self.sampling is None:
            return logits.argmax(dim=-1)
        if self._generator is None:
            self._generator = torch.Generator(logits.device).manual_seed(self.sampling.seed)
        chances = self.sampling.filtered(logits).softmax(dim=-1)
        return torch.multinomial(chances, 1, generator=self._generator)[:, 0]
