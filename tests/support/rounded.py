"""Backbones whose files hold what a weight in 8 bits stands for, worked out by NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModel
from transformers.modeling_layers import GradientCheckpointingLayer

import ptv2_scale.backbones.glm_classic  # noqa: F401 - transformers' AutoModel then knows it


def integers_and_scales(weight: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The integers [outputs, inputs] and the scales [outputs, 1] of a weight, in fp32."""
    values = weight.detach().float().numpy()
    scales = torch.from_numpy(np.abs(values).max(axis=1, keepdims=True) / np.float32(127))
    scales = scales.to(dtype).float()
    return torch.from_numpy(np.rint(values / scales.numpy())), scales


def rounded(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A weight, as it is once it has been through 8 bits, in fp32."""
    integers, scales = integers_and_scales(weight, dtype)
    return integers * scales


def linear_layers(backbone: nn.Module) -> list[nn.Linear]:
    """Those inside of a model's layers."""
    layers = (one for one in backbone.modules() if isinstance(one, GradientCheckpointingLayer))
    return [one for layer in layers for one in layer.modules() if isinstance(one, nn.Linear)]


def save_rounded(folder: Path, target: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Save the backbone of a folder with its linear layers rounded."""
    model = AutoModel.from_pretrained(folder)
    for layer in linear_layers(model):
        layer.weight.data = rounded(layer.weight, dtype)
    model.save_pretrained(target)
    return target
