"""Heads that map the backbone's last hidden state to logits, [batch, labels].

Three of them compute what transformers' ForSequenceClassification models compute, under parameter
names that an export can map to theirs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from ptv2_scale.runtime.errors import UserError

HeadKind = Literal["linear", "bert", "roberta", "score"]
Pool = Literal["first", "last"]

INITIAL_STD = 0.02  # transformers' default for new heads


class Head(nn.Module, ABC):
    """What every head offers; reading the features and using them are separate on purpose.

    A head trained alone on a frozen backbone needs the features of each example only once.
    """

    @abstractmethod
    def features(self, hidden: Tensor, pooled: Tensor | None, attention_mask: Tensor) -> Tensor:
        """What the head reads of the backbone, without anything trained or random.

        Args:
            hidden: last hidden state [batch, tokens, width].
            pooled: the backbone's own pooled output [batch, width], if it has one.
            attention_mask: [batch, tokens], 1 for text; padding may be on either side.

        Returns:
            [batch, width].
        """

    @abstractmethod
    def forward_features(self, features: Tensor) -> Tensor:
        """Logits [batch, labels] of features [batch, width]."""

    def forward(self, hidden: Tensor, pooled: Tensor | None, attention_mask: Tensor) -> Tensor:
        """Logits [batch, labels]; arguments as those of `features`."""
        return self.forward_features(self.features(hidden, pooled, attention_mask))


class LinearHead(Head):
    """One linear layer on the state of the first token ([CLS], T5's decoder start) or the last."""

    def __init__(self, width: int, labels: int, pool: Pool) -> None:
        """Layers for states of `width`; `pool` says which token is read."""
        super().__init__()
        self.pool = pool
        self.out_proj = _linear(width, labels)

    def features(self, hidden: Tensor, pooled: Tensor | None, attention_mask: Tensor) -> Tensor:
        """State of one token; see `Head`."""
        read = first_token if self.pool == "first" else last_token
        return read(hidden, attention_mask)

    def forward_features(self, features: Tensor) -> Tensor:
        """See `Head`."""
        return _apply(self.out_proj, features)


class BertHead(Head):
    """BertForSequenceClassification: dropout and a linear layer on the backbone's pooler."""

    def __init__(self, width: int, labels: int, dropout: float) -> None:
        """Layers for states of `width`; `dropout` is a probability."""
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.classifier = _linear(width, labels)

    def features(self, hidden: Tensor, pooled: Tensor | None, attention_mask: Tensor) -> Tensor:
        """The pooler's output; see `Head`."""
        if pooled is None:
            raise UserError(
                "task.head: hf reads the pooler of BERT, and this backbone's weights have none; "
                "use task.head=linear"
            )
        return pooled

    def forward_features(self, features: Tensor) -> Tensor:
        """See `Head`."""
        return _apply(self.classifier, self.dropout(features))


class RobertaHead(Head):
    """RobertaForSequenceClassification's head on <s>."""

    def __init__(self, width: int, labels: int, dropout: float) -> None:
        """Layers for states of `width`; `dropout` is a probability."""
        super().__init__()
        self.dense = _linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.out_proj = _linear(width, labels)

    def features(self, hidden: Tensor, pooled: Tensor | None, attention_mask: Tensor) -> Tensor:
        """State of the first column; see `Head`."""
        # Of padding, too, where that is on the left: transformers' own head does the same.
        return hidden[:, 0]

    def forward_features(self, features: Tensor) -> Tensor:
        """See `Head`."""
        dense = torch.tanh(_apply(self.dense, self.dropout(features)))
        return _apply(self.out_proj, self.dropout(dense))


class ScoreHead(Head):
    """The causal models' ForSequenceClassification: one layer without bias on the last token."""

    def __init__(self, width: int, labels: int) -> None:
        """Layers for states of `width`."""
        super().__init__()
        self.score = _linear(width, labels, bias=False)

    def features(self, hidden: Tensor, pooled: Tensor | None, attention_mask: Tensor) -> Tensor:
        """State of the last token; see `Head`."""
        return last_token(hidden, attention_mask)

    def forward_features(self, features: Tensor) -> Tensor:
        """See `Head`."""
        return _apply(self.score, features)


def first_token(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """States [batch, width] of the first tokens that are not padding, on either side."""
    # Of equal values argmax gives the first; it takes no bool.
    return _states_at(attention_mask.long().argmax(dim=1), hidden)


def last_token(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """States [batch, width] of the last tokens that are not padding, on either side."""
    places = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    return _states_at((places * attention_mask.to(places.dtype)).argmax(dim=1), hidden)


def _states_at(places: Tensor, hidden: Tensor) -> Tensor:
    return hidden[torch.arange(len(hidden), device=hidden.device), places.to(hidden.device)]


def build_head(kind: HeadKind, width: int, labels: int, dropout: float, pool: Pool) -> Head:
    """A new head; `dropout` counts for bert and roberta, `pool` for linear."""
    if kind == "bert":
        return BertHead(width, labels, dropout)
    if kind == "roberta":
        return RobertaHead(width, labels, dropout)
    if kind == "score":
        return ScoreHead(width, labels)
    return LinearHead(width, labels, pool)


def _linear(width: int, out: int, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(width, out, bias=bias)
    nn.init.normal_(layer.weight, std=INITIAL_STD)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def _apply(layer: nn.Linear, features: Tensor) -> Tensor:
    # A head in fp32 may sit on a backbone in bf16.
    logits: Tensor = layer(features.to(layer.weight.dtype))
    return logits
