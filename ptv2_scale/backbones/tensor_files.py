"""Small files of named tensors, of strangers and of our own."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from ptv2_scale.backbones.weights import load_pickled
from ptv2_scale.runtime.errors import UserError


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a .safetensors file, or of a pickled one read without running its code.

    Raises:
        UserError: it cannot be read.
    """
    if path.suffix != ".safetensors":
        return load_pickled(path)
    try:
        found: dict[str, Tensor] = load_file(path)
        return found
    except Exception as error:
        # A header may name what PyTorch does not have; that leads to several kinds of errors.
        raise UserError(f"{path}: not a readable safetensors file ({error}).") from None
