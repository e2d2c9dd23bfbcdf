"""What of a prefix keeps its first values while the rest is trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ptv2_scale.config import Prefix


@dataclass(frozen=True)
class KeptValues:
    """What no gradient reaches. AdamW without weight decay then leaves it as it was, to the bit.

    It lies in the same table as what is trained, so that checkpoints, exports and the files of
    others hold a prefix as they always do.

    Attributes:
        tokens: the first ones of the prefix, keys and values. Cartridges (Eyuboglu et al., 2025)
            freeze one: decoders take early tokens as a sink of attention.
        keys: of all tokens. What a prefix adds to attention is then weighed by fixed keys, and
            learns only what is added (He et al., ICLR 2022, section 3.1).
    """

    tokens: int = 0
    keys: bool = False

    @classmethod
    def of(cls, section: Prefix) -> KeptValues:
        """What a recipe keeps."""
        return cls(section.frozen_tokens, section.parts == "values")

    def detached(self, keys_values: Tensor) -> Tensor:
        """The same keys and values, [slots, 2, kv_heads, length, head_dim]."""
        if not (self.tokens or self.keys):
            return keys_values
        kept = torch.zeros(2, 1, keys_values.shape[3], 1, dtype=torch.bool)
        kept[:, :, : self.tokens] = True
        kept[0] |= self.keys
        return torch.where(kept.to(keys_values.device), keys_values.detach(), keys_values)

    def elements(self, length: int, row: int) -> int:
        """Number of elements of a table [length, row] that keep their first values."""
        keys = length if self.keys else self.tokens
        return (keys + self.tokens) * (row // 2)

    def describe(self) -> list[str]:
        """Lines for people."""
        tokens = [f"the first {self.tokens} tokens keep their first values"] if self.tokens else []
        keys = ["its keys keep their first values, its values are trained"] if self.keys else []
        return [f"prefix: {line}" for line in (*tokens, *keys)]
