"""What `inspect` prints."""

from __future__ import annotations

from typing import Any

from ptv2_scale.backbones.presets import shape_notes
from ptv2_scale.config import RunConfig
from ptv2_scale.estimate.parameters import PartSize, checkpoint_bytes, part_sizes
from ptv2_scale.model.setup import build_model, open_shapes


def describe(config: RunConfig) -> str:
    """A table of a recipe's parameters by part, and what its method does.

    Raises:
        UserError: the recipe and the backbone do not go together.
    """
    setup = open_shapes(config)
    parts = part_sizes(build_model(setup))
    total = sum(part.parameters for part in parts)
    return "\n".join(
        [
            f"{setup.files.family.name}: {setup.files.folder}",
            *shape_notes(config.backbone.name),
            "",
            *(_row(part, total, setup.config.backbone.dtype) for part in parts),
            *_quantised(setup.config),
            "",
            f"checkpoint: about {checkpoint_bytes(parts) / 2**20:.2f} MiB"
            " (fp32 and AdamW's moments)",
            *setup.describe(),
            *setup.method.describe(),
            *setup.task.describe(),
        ]
    )


def described_as_json(config: RunConfig) -> dict[str, Any]:
    """The same numbers for programs: see docs/runs.md.

    Raises:
        UserError: see `describe`.
    """
    setup = open_shapes(config)
    parts = part_sizes(build_model(setup))
    return {
        "family": setup.files.family.name,
        "backbone": str(setup.files.folder),
        "dtype": setup.config.backbone.dtype,
        "quantization": setup.config.backbone.quantization,
        "parameters": sum(part.parameters for part in parts),
        "trained": sum(part.trained for part in parts),
        "parts": [_part(part) for part in parts],
        "checkpoint_bytes": checkpoint_bytes(parts),
        "method": config.prompt.method,
        "task": config.task.name,
    }


def _quantised(config: RunConfig) -> list[str]:
    kept = config.backbone.quantization
    return [f"of the backbone, linear layers are kept in {kept}"] if kept else []


def _part(part: PartSize) -> dict[str, Any]:
    return {"part": part.part, "trained": part.trained, "frozen": part.frozen, "bytes": part.nbytes}


def _row(part: PartSize, total: int, dtype: str) -> str:
    state = "trained" if part.trained else "frozen"
    name = part.part.replace("_", " ")
    return (
        f"{name:<15} {state:<8} {part.parameters:>15,} {part.parameters / total:>9.4%}"
        f" {part.nbytes / 2**20:>10.2f} MiB in {dtype}"
    )
