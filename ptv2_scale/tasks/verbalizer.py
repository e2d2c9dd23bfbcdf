"""A head that reads the words of a verbalizer from the backbone's own head over the vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ptv2_scale.backbones.load import BackboneFiles
from ptv2_scale.backbones.tensor_files import Tensors
from ptv2_scale.backbones.vocabulary_head import WordLogits, word_tensors
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.cloze import READ_AT, Cloze
from ptv2_scale.tasks.heads import Head, last_token


class VerbalizerHead(Head):
    """Logits [batch, labels] of the labels' words at the blank; nothing in it is trained.

    Args:
        cloze: the pattern and its words on a backbone.
    """

    KIND = "verbalizer"

    def __init__(self, cloze: Cloze) -> None:
        super().__init__()
        self._cloze = cloze
        self.words = WordLogits(cloze.family, cloze.config, len(cloze.words))

    def features(self, hidden: Tensor, pooled: Tensor | None, attention_mask: Tensor) -> Tensor:
        """States [batch, width] of the tokens that end the mask; see `answer`."""
        return last_token(hidden, attention_mask)

    def forward_features(self, features: Tensor) -> Tensor:
        """See `Head`."""
        logits: Tensor = self.words(features)
        return logits

    def answer(
        self,
        hidden: Tensor,
        pooled: Tensor | None,
        attention_mask: Tensor,
        inputs: Mapping[str, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """See `Head`: the token `read_at` [batch] of the batch's inputs is read.

        Raises:
            UserError: the inputs do not say which.
        """
        if READ_AT not in inputs:
            raise UserError(
                f"{READ_AT}: missing; a verbalizer reads the blank of a pattern. Make inputs with"
                " load_row_encoder."
            )
        seen = attention_mask.cumsum(dim=1) <= inputs[READ_AT][:, None] + 1
        features = self.features(hidden, pooled, attention_mask * seen)
        return self.forward_features(features), features

    def from_files(self, files: BackboneFiles, backbone: Any, tokenizer: Any) -> Tensors:
        """See `Head`: the rows of the words, and what stands before them."""
        found = word_tensors(files, backbone, self._cloze.token_ids(tokenizer))
        return found.renamed({name: f"words.{name}" for name in found.names()})
