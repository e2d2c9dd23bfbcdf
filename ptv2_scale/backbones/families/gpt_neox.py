"""GPT-NeoX and Pythia: parallel residual, partly rotary positions."""

from ptv2_scale.backbones.family import Family, Stack

GPT_NEOX = Family(
    name="GPT-NeoX",
    model_types=("gpt_neox",),
    stacks=(Stack("decoder", "layers.{}.attention"),),
    positions="rotary",
    dropout_keys=("attention_dropout", "hidden_dropout"),
)
