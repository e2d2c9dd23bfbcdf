"""Qwen2 and Qwen3: grouped-query attention, rotary positions."""

from ptv2_scale.backbones.family import Family, Stack

QWEN = Family(
    name="Qwen",
    model_types=("qwen2", "qwen3"),
    stacks=(Stack("decoder", "layers.{}.self_attn"),),
    positions="rotary",
)
