"""The choice of the next token: the likeliest, or one that is drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ptv2_scale.backbones.sampling import Sampling


@dataclass
class Choice:
    """Chooses the next token of every text.

    Attributes:
        vocabulary: ids from here on, the padding of the embedding, are never chosen.
        sampling: None: the likeliest token. A batch's draws come from one generator, row by row.
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
