"""`inspect`: where a prefix lies and what is trained, from shapes alone; no weight is read."""

from __future__ import annotations

from collections import Counter

from torch import nn

from ptv2_scale.backbones.presets import preset_notes
from ptv2_scale.config import RunConfig
from ptv2_scale.model.setup import build_model, open_shapes


def _count(module: nn.Module | None) -> int:
    return 0 if module is None else sum(p.numel() for p in module.parameters())


def describe(config: RunConfig) -> str:
    """A table of a recipe's parameters by part, and its slots.

    Raises:
        UserError: the recipe and the backbone do not go together.
    """
    setup = open_shapes(config)
    model = build_model(setup)
    bytes_each = 2 if config.backbone.dtype == "bf16" else 4
    rows = [
        ("backbone", "frozen", _count(model.backbone)),
        ("prefix encoder", "trained", _count(model.prefix_encoder)),
        ("head", "trained", _count(model.head)),
    ]
    total = sum(count for _, _, count in rows)
    notes = preset_notes(config.backbone.name)
    lines = [f"{setup.files.family.name}: {setup.files.folder}", *notes, ""]
    lines += [
        f"{part:<15} {state:<8} {count:>15,} {count / total:>9.4%}"
        f" {count * bytes_each / 2**20:>10.2f} MiB in {config.backbone.dtype}"
        for part, state, count in rows
    ]
    trained = total - rows[0][2]
    lines += ["", f"checkpoint: about {12 * trained / 2**20:.2f} MiB (fp32 and AdamW's moments)"]
    if setup.shape is not None:
        shape = setup.shape
        slots = Counter(slot for slot, _ in shape.slots)
        lines += [
            f"prefix: {shape.length} tokens x {len(shape.slots)} slots ("
            + ", ".join(f"{count} {slot}" for slot, count in slots.items())
            + f") x 2 x {shape.kv_heads} key/value heads x {shape.head_dim}",
        ]
    return "\n".join(lines)
