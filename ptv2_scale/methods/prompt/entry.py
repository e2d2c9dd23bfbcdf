"""Input embeddings in front of a text's own: how a prompt enters a forward pass.

After Lester et al., "The Power of Scale for Parameter-Efficient Prompt Tuning" (EMNLP 2021): the
prompt's tokens are tokens of the input like any other, they take positions and are attended to.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from ptv2_scale.methods.base import Adapter, Entry, Inputs, Wrapped, embed


class PromptEntry(Entry):
    """A prompt for one forward pass.

    Args:
        embeddings: [length, width].
    """

    def __init__(self, embeddings: Tensor) -> None:
        self.embeddings = embeddings

    def wrap(self, inputs: Inputs, backbone: nn.Module) -> Wrapped:
        """See `Entry`: embeddings in place of ids; masks and token types grow with them."""
        inputs = dict(inputs)
        text = embed(backbone, inputs.pop("input_ids"))
        length, batch = self.embeddings.shape[0], text.shape[0]
        prompt = self.embeddings.to(text.dtype).expand(batch, -1, -1)
        inputs["inputs_embeds"] = torch.cat((prompt, text), dim=1)
        # Of the first type, as the first text of a pair is.
        for name, value in (("attention_mask", 1), ("token_type_ids", 0)):
            if name in inputs:
                own = inputs[name]
                inputs[name] = torch.cat((own.new_full((batch, length), value), own), dim=1)
        return Wrapped(inputs, length)


class PromptAdapter(Adapter):
    """What makes a prompt."""

    @abstractmethod
    def forward(self) -> Tensor:
        """The prompt's embeddings, [length, width]."""

    def entry(self) -> PromptEntry:
        """See `Adapter`."""
        return PromptEntry(self())


class PromptTable(PromptAdapter):
    """A prompt that is trained itself.

    Args:
        length: tokens.
        width: of an input embedding.
    """

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(length, width)

    def forward(self) -> Tensor:
        """See `PromptAdapter`."""
        # A lookup, not the weight itself: under ZeRO-3 the gathered weight is freed after use.
        tokens = torch.arange(self.embedding.num_embeddings, device=self.embedding.weight.device)
        rows: Tensor = self.embedding(tokens)
        return rows
