"""Phi-3: fused projections, rotary positions."""

from ptv2_scale.backbones.family import Family, Stack

PHI3 = Family(
    name="Phi-3",
    model_types=("phi3",),
    stacks=(Stack("decoder", "layers.{}.self_attn"),),
    positions="rotary",
    dropout_keys=("attention_dropout", "resid_pdrop", "embd_pdrop"),
)
