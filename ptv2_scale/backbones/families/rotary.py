"""Decoders with rotary positions: Llama, Qwen2 and Qwen3, GLM-4, GPT-NeoX and Pythia, Phi-3."""

from ptv2_scale.backbones.family import Family, Stack

LLAMA = Family(
    name="Llama",
    model_types=("llama",),
    stacks=(Stack("decoder", "layers.{}.self_attn"),),
    positions="rotary",
)

QWEN = Family(
    name="Qwen",
    model_types=("qwen2", "qwen3"),
    stacks=(Stack("decoder", "layers.{}.self_attn"),),
    positions="rotary",
)

# As transformers has it; classic GLM is another architecture.
GLM4 = Family(
    name="GLM-4",
    model_types=("glm", "glm4"),
    stacks=(Stack("decoder", "layers.{}.self_attn"),),
    positions="rotary",
)

GPT_NEOX = Family(
    name="GPT-NeoX",
    model_types=("gpt_neox",),
    stacks=(Stack("decoder", "layers.{}.attention"),),
    positions="rotary",
    dropout_keys=("attention_dropout", "hidden_dropout"),
)

PHI3 = Family(
    name="Phi-3",
    model_types=("phi3",),
    stacks=(Stack("decoder", "layers.{}.self_attn"),),
    positions="rotary",
    dropout_keys=("attention_dropout", "resid_pdrop", "embd_pdrop"),
)
