"""How many parameters a recipe has, and what they take, from shapes alone; no weight is read."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ptv2_scale.model.prompted import PromptedModel

# fp32 master values and AdamW's two moments.
CHECKPOINT_BYTES = 12


@dataclass(frozen=True)
class PartSize:
    """One part of a model.

    Attributes:
        part: "backbone", "head", or the name of the method's own part.
        trained: number of trained parameters.
        frozen: number of frozen parameters.
        nbytes: bytes that its parameters take in their dtype, on all ranks together.
    """

    part: str
    trained: int
    frozen: int
    nbytes: int

    @property
    def parameters(self) -> int:
        """Number of its parameters."""
        return self.trained + self.frozen


def part_sizes(model: PromptedModel) -> list[PartSize]:
    """Sizes of the parts of a model, which may be on the meta device."""
    return [_size(name, module) for name, module in model.named_children()]


def _size(name: str, module: nn.Module) -> PartSize:
    parameters = list(module.parameters())
    trained = sum(one.numel() for one in parameters if one.requires_grad)
    total = sum(one.numel() for one in parameters)
    nbytes = sum(one.numel() * one.element_size() for one in parameters)
    return PartSize(name, trained, total - trained, nbytes)


def checkpoint_bytes(parts: list[PartSize]) -> int:
    """Bytes of a checkpoint, but for some JSON."""
    return CHECKPOINT_BYTES * sum(part.trained for part in parts)
