"""How many parameters a recipe has, and what they take, from shapes alone; no weight is read."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ptv2_scale.backbones.int8 import packed_parameters
from ptv2_scale.methods.base import Adapter
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
        kept: number of those among the frozen that stand in a trained table and in checkpoints.
        nbytes: bytes that its parameters take as they are kept, on all ranks together.
    """

    part: str
    trained: int
    frozen: int
    nbytes: int
    kept: int = 0

    @property
    def parameters(self) -> int:
        """Number of its parameters."""
        return self.trained + self.frozen


def part_sizes(model: PromptedModel) -> list[PartSize]:
    """Sizes of the parts of a model, which may be on the meta device."""
    return [_size(name, module) for name, module in model.named_children()]


def _size(name: str, module: nn.Module) -> PartSize:
    parameters = list(module.parameters())
    kept = module.kept_elements if isinstance(module, Adapter) else 0
    trained = sum(one.numel() for one in parameters if one.requires_grad) - kept
    total = sum(one.numel() for one in parameters) + packed_parameters(module)
    nbytes = sum(one.numel() * one.element_size() for one in parameters)
    return PartSize(name, trained, total - trained, nbytes, kept)


def checkpoint_bytes(parts: list[PartSize]) -> int:
    """Bytes of a checkpoint, but for some JSON."""
    return CHECKPOINT_BYTES * sum(part.trained + part.kept for part in parts)
