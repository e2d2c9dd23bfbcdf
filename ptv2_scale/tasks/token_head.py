"""The head of tasks that answer token by token: one linear layer on every token's state."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.heads import INITIAL_STD, Head, head_kind

# Where transformers' ForTokenClassification looks for its dropout, and what it takes where none is.
_DROPOUTS = ("classifier_dropout", "hidden_dropout_prob", "hidden_dropout")
_DROPOUT = 0.1


class TokenHead(Head):
    """Dropout and a linear layer on the state of each token of the text.

    What transformers' ForTokenClassification models compute; without dropout, what its
    ForQuestionAnswering models do.

    Args:
        width: of a state.
        outputs: numbers a token.
        dropout: a probability.
    """

    KIND = "token"
    of_tokens = True

    def __init__(self, width: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.out_proj = nn.Linear(width, outputs)
        nn.init.normal_(self.out_proj.weight, std=INITIAL_STD)
        nn.init.zeros_(self.out_proj.bias)

    def features(self, hidden: Tensor, pooled: Tensor | None, attention_mask: Tensor) -> Tensor:
        """States [batch, longest text, width] of the text's tokens, whatever else has columns.

        Padding, and what a method puts in front, is left out; each text begins at column 0.
        """
        longest = int(attention_mask.sum(dim=1).max())
        # Of equal values a stable sort keeps the order: the text's columns first, as they were.
        columns = attention_mask.long().argsort(dim=1, descending=True, stable=True)[:, :longest]
        rows = torch.arange(len(hidden), device=hidden.device)[:, None]
        return hidden[rows, columns.to(hidden.device)]

    def forward_features(self, features: Tensor) -> Tensor:
        """Outputs [batch, tokens, outputs] of features [batch, tokens, width]."""
        weight = self.out_proj.weight
        outputs: Tensor = self.out_proj(self.dropout(features).to(weight.dtype))
        return outputs

    def split(self, features: Tensor, attention_mask: Tensor) -> list[Tensor]:
        """See `Head`: [tokens, width] of each example."""
        sizes = attention_mask.sum(dim=1).tolist()
        return [states[:size] for states, size in zip(features.float().cpu(), sizes, strict=True)]

    def join(self, features: Sequence[Tensor]) -> Tensor:
        """See `Head`."""
        return pad_sequence(list(features), batch_first=True)


def token_head(wanted: str | None, family: Family, config: Config, outputs: int) -> TokenHead:
    """A new head on every token's state.

    Args:
        wanted: "linear", or "hf" for the dropout of transformers' own; None: the family's default.
        family, config: the backbone's.
        outputs: numbers a token.

    Raises:
        UserError: transformers has no such head on this backbone.
    """
    own = head_kind(wanted, family) != "linear"
    return TokenHead(family.width(config), outputs, _dropout(config) if own else 0.0)


def _dropout(config: Config) -> float:
    """Dropout in front of transformers' own layer."""
    named = (getattr(config, key, None) for key in _DROPOUTS)
    found = next((value for value in named if value is not None), _DROPOUT)
    if not isinstance(found, (int, float)) or not 0 <= found <= 1:
        raise UserError(f"config.json: classifier_dropout is {found!r:.40}; expected 0 to 1.")
    return float(found)
