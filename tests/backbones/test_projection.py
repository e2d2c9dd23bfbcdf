"""Losses over a vocabulary in chunks, against PyTorch's own over all of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from ptv2_scale.backbones.projection import projecting_embedding, token_losses

TOKENS, WIDTH, WORDS = 23, 8, 50


def sample() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(4)
    states = torch.randn(TOKENS, WIDTH, requires_grad=True)
    return states, torch.randn(WORDS, WIDTH), torch.randint(0, WORDS, (TOKENS,))


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("cap", [None, 3.0])
@pytest.mark.parametrize("chunk", [1, 7, 23, 1000])
def test_losses_and_gradients(chunk: int, cap: float | None, trained: bool) -> None:
    states, weight, labels = sample()
    weight.requires_grad_(trained)
    logits = states @ weight.T
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    expected = functional.cross_entropy(logits, labels, reduction="none")
    shares = torch.linspace(-1, 2, TOKENS)
    wanted = (states, weight) if trained else (states,)
    gradients = torch.autograd.grad((expected * shares).sum(), wanted)
    found = token_losses(states, weight, labels, chunk, cap)
    torch.testing.assert_close(found[:, 0], expected)
    assert torch.equal(found[:, 1], (logits.argmax(1) == labels).float())
    for own, other in zip(
        torch.autograd.grad((found[:, 0] * shares).sum(), wanted), gradients, strict=True
    ):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)


class _Largest(TorchDispatchMode):
    """Notes the largest tensor that is made with a column for each word."""

    rows = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(one, Tensor) and one.dim() == 2 and one.shape[1] == WORDS:
                self.rows = max(self.rows, one.shape[0])
        return made


@pytest.mark.parametrize("trained", [False, True])
def test_logits_of_a_chunk_alone_are_in_memory(trained: bool) -> None:
    states, weight, labels = sample()
    weight.requires_grad_(trained)
    with _Largest() as largest:
        token_losses(states, weight, labels, 5, None)[:, 0].sum().backward()
    assert 5 <= largest.rows <= WIDTH  # the transposed weight has as many columns


def test_word_embeddings_project_and_embed() -> None:
    class Backbone:
        embedding = nn.Embedding(WORDS, WIDTH, padding_idx=0)

        def get_input_embeddings(self) -> nn.Module:
            return self.embedding

    backbone, ids = Backbone(), torch.tensor([[3, 4]])
    before = backbone.embedding(ids)
    module = projecting_embedding(backbone)
    assert module is projecting_embedding(backbone) is backbone.embedding
    assert isinstance(module, nn.Embedding)
    assert torch.equal(module(ids), before)
    logits = module(before, use=functional.linear)
    assert torch.equal(logits, before @ backbone.embedding.weight.T)
