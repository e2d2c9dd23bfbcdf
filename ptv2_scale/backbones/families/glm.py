"""GLM-4 as transformers has it (model_type glm and glm4): grouped-query attention, rotary."""

from ptv2_scale.backbones.family import Family, Stack

GLM4 = Family(
    name="GLM-4",
    model_types=("glm", "glm4"),
    stacks=(Stack("decoder", "layers.{}.self_attn"),),
    positions="rotary",
)
