"""The backbone's own head over the whole vocabulary, as the loss of the tokens of a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ptv2_scale.backbones.load import BackboneFiles
from ptv2_scale.backbones.projection import Projection, projecting_embedding, token_losses
from ptv2_scale.backbones.tensor_files import Tensors
from ptv2_scale.backbones.vocabulary_head import head_tensors, own_projection
from ptv2_scale.data.collate import IGNORED
from ptv2_scale.tasks.heads import Head

LABELS = "labels"  # of a batch's inputs: the token that each place is to say, or IGNORED


class LanguageHead(Head):
    """Losses and hits [batch, tokens, 2] of the tokens that a batch's labels name.

    The loss of a place is the negative log-likelihood of its label, 0 where there is none; a hit is
    1 where the label is the likeliest token. Nothing in the head is trained. Projections tied to
    the word embeddings are a call of these.

    Args:
        files: of the backbone.
        chunk: most tokens whose logits are in memory at once.
    """

    KIND = "language"

    def __init__(self, files: BackboneFiles, chunk: int) -> None:
        super().__init__()
        family, config = files.family, files.config
        self._chunk, self._files = chunk, files
        self._scale, self._cap = family.vocabulary.scale(config), family.vocabulary.cap(config)
        if own_projection(files) is not None:
            self.projection = Projection(int(config.vocab_size), family.width(config))
        # In a tuple: the backbone's own module is no part of the head.
        self._tied: tuple[Any, ...] = ()

    def attach(self, backbone: Any) -> None:
        """See `Head`: where the projection is tied, the word embeddings are used."""
        if own_projection(self._files) is None:
            self._tied = (projecting_embedding(backbone),)

    def share(self, other: LanguageHead) -> None:
        """Use another's projection, which is the same: frozen, and of the same backbone."""
        if not self._tied:
            self.projection = other.projection

    def features(self, hidden: Tensor, pooled: Tensor | None, attention_mask: Tensor) -> Tensor:
        """All hidden states."""
        return hidden

    def forward_features(self, features: Tensor) -> Tensor:
        """The same: without labels there is nothing to score."""
        return features

    def answer(
        self,
        hidden: Tensor,
        pooled: Tensor | None,
        attention_mask: Tensor,
        inputs: Mapping[str, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """See `Head`: the losses, and again the losses; without labels the hidden states."""
        labels = inputs.get(LABELS)
        if labels is None:
            return hidden, hidden
        known = labels != IGNORED
        found = self._losses(hidden[known] * self._scale, labels[known])
        made = found.new_zeros((*labels.shape, 2))
        made[known] = found
        return made, made

    def logits(self, states: Tensor) -> Tensor:
        """Logits [..., vocabulary] of hidden states [..., width], to choose the next token by."""
        found: Tensor = self._module(states * self._scale, use=self._project)
        return found if self._cap is None else self._cap * torch.tanh(found / self._cap)

    @staticmethod
    def _project(states: Tensor, weight: Tensor) -> Tensor:
        return functional.linear(states.to(weight.dtype), weight).float()

    @property
    def _module(self) -> Any:
        """The module whose weight is the projection."""
        return self._tied[0] if self._tied else self.projection

    def _losses(self, states: Tensor, labels: Tensor) -> Tensor:
        def use(given: Tensor, weight: Tensor) -> Tensor:
            return token_losses(given.to(weight.dtype), weight, labels, self._chunk, self._cap)

        losses: Tensor = self._module(states, use=use)
        return losses

    def from_files(self, files: BackboneFiles, backbone: Any, tokenizer: Any) -> Tensors:
        """See `Head`: the projection, where it has a tensor of its own."""
        name = head_tensors(files, backbone)["rows.weight"]
        own = own_projection(files) is not None
        return Tensors({"projection.weight": (files.weights, name)} if own else {})
