"""The whole projection to the vocabulary, used inside the call of the module that owns its weight.

Under ZeRO-3 a weight is there while its module is called, and may be empty otherwise. So what is
done with the projection is handed to that module, which is the word embeddings' own where they are
tied to it: nothing is stored twice, and a batch gathers it once, however it is cut into chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

# (hidden states, the projection's weight [vocabulary, width]) -> what is made of them
Use = Callable[[Tensor, Tensor], Tensor]


class Projection(nn.Module):
    """A projection of its own, frozen."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocabulary, width), requires_grad=False)

    def forward(self, states: Tensor, use: Use) -> Tensor:
        """What `use` makes of hidden states and the weight."""
        return use(states, self.weight)


class _Projecting:
    """Word embeddings that are the projection, too."""

    weight: Tensor

    def forward(self, given: Tensor, *args: Any, use: Use | None = None, **kwargs: Any) -> Any:
        if use is not None:
            return use(given, self.weight)
        return super().forward(given, *args, **kwargs)  # type: ignore[misc]


def projecting_embedding(backbone: Any) -> Any:
    """A backbone's word embeddings, which from now on take `use` as `Projection` does."""
    embedding = backbone.get_input_embeddings()
    if not isinstance(embedding, _Projecting):
        kind = type(embedding)
        embedding.__class__ = type(f"Projecting{kind.__name__}", (_Projecting, kind), {})
    return embedding


def token_losses(
    states: Tensor, weight: Tensor, labels: Tensor, chunk: int, cap: float | None
) -> Tensor:
    """Negative log-likelihood of each token, and whether it is the likeliest one.

    Logits exist for `chunk` tokens at a time. With a frozen weight their gradient is made on the
    way (as Liger's fused loss does, arXiv:2410.10989), so that the backward pass needs no weight.

    Args:
        states: [tokens, width].
        weight: [vocabulary, width].
        labels: [tokens].
        chunk: most tokens whose logits are in memory at once.
        cap: what soft-capped logits stay below; None: they are as they are.

    Returns:
        Float32 [tokens, 2].
    """
    if weight.requires_grad and torch.is_grad_enabled():
        pieces = zip(states.split(chunk), labels.split(chunk), strict=True)
        return torch.cat(
            [
                checkpoint(_losses, own, weight, truth, cap, use_reentrant=False)
                for own, truth in pieces
            ]
        )
    found: Tensor = _FrozenLosses.apply(states, weight, labels, chunk, cap)  # type: ignore[no-untyped-call]
    return found


def _logits(states: Tensor, weight: Tensor, cap: float | None) -> Tensor:
    logits = functional.linear(states, weight).float()
    return logits if cap is None else cap * torch.tanh(logits / cap)


def _losses(states: Tensor, weight: Tensor, labels: Tensor, cap: float | None) -> Tensor:
    return _losses_of(_logits(states, weight, cap), labels)


class _FrozenLosses(torch.autograd.Function):
    """`token_losses` whose weight takes no gradient."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, labels: Tensor, chunk: int, cap: float | None
    ) -> Tensor:
        wanted = ctx.needs_input_grad[0]
        losses, gradients = [], []
        for own, truth in zip(states.split(chunk), labels.split(chunk), strict=True):
            logits = _logits(own, weight, cap)
            losses.append(_losses_of(logits, truth))
            if wanted:
                gradients.append(_gradient_of(logits, truth, cap).to(own.dtype) @ weight)
        if wanted:
            ctx.save_for_backward(torch.cat(gradients))
        return torch.cat(losses)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (own,) = ctx.saved_tensors
        return own * gradients[0][:, :1].to(own.dtype), None, None, None, None


def _losses_of(logits: Tensor, labels: Tensor) -> Tensor:
    losses = functional.cross_entropy(logits, labels, reduction="none")
    return torch.stack((losses, (logits.argmax(dim=-1) == labels).float()), dim=1)


def _gradient_of(logits: Tensor, labels: Tensor, cap: float | None) -> Tensor:
    """Of the losses, by the logits before their cap."""
    gradient = logits.softmax(dim=-1)
    gradient[torch.arange(len(labels), device=labels.device), labels] -= 1.0
    return gradient if cap is None else gradient * (1.0 - (logits / cap) ** 2)
