"""Llama: grouped-query attention, rotary positions."""

from ptv2_scale.backbones.family import Family, Stack

LLAMA = Family(
    name="Llama",
    model_types=("llama",),
    stacks=(Stack("decoder", "layers.{}.self_attn"),),
    positions="rotary",
)
