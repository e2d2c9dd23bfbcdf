"""A `Setup` without tokenizer or data: a tiny backbone, a prefix, a linear head of three labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.backbones.load import open_backbone
from ptv2_scale.config import RunConfig
from ptv2_scale.methods.registry import build_method
from ptv2_scale.model.setup import Setup
from ptv2_scale.tasks.heads import LinearHead

PREFIX = {"length": 7, "dropout": 0.0, "init_scale": 0.5}


class ThreeLabels:
    """As much of a task as building a model needs."""

    def head(self, family: Family, config: Config) -> LinearHead:
        return LinearHead(family.width(config), 3, family.pool)


def fake_setup(folder: Path, dtype: str = "fp32", **changes: Any) -> Setup:
    """Open a backbone's folder with a recipe made of `changes` to its sections."""
    prompt, backbone = changes.pop("prompt", {}), changes.pop("backbone", {})
    config = RunConfig.model_validate(
        {
            "backbone": {"name": str(folder), "dtype": dtype, "dropout": 0.0, **backbone},
            "prompt": prompt if "method" in prompt else {**PREFIX, **prompt},
            "task": {"name": "demo", "head": "linear", "max_length": 20},
            "train": {
                "global_batch": 4,
                "micro_batch": 2,
                "gradient_checkpointing": True,
                **changes.pop("train", {}),
            },
            "deepspeed": "zero3",
            **changes,
        }
    )
    files = open_backbone(str(folder))
    method = build_method(config.prompt, files.family, files.config)
    return Setup(config, files, None, ThreeLabels(), method)
