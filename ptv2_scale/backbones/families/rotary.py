"""Decoders with rotary positions: Llama, Mistral, Qwen2 and Qwen3, GLM-4, GPT-NeoX, Phi-3.

Mistral, Qwen and Phi-3 may have sliding windows.
"""

from ptv2_scale.backbones.family import TASK_HEADS, Family, Stack, VocabularyHead

_ANGLES = r"(layers\.\d+\.(self_attn|attention)\.)?rotary_emb\.inv_freq"

LLAMA = Family(
    name="Llama",
    model_types=("llama",),
    stacks=(Stack("decoder", "layers.{}.self_attn"),),
    positions="rotary",
    buffers=(_ANGLES,),
)

MISTRAL = Family(
    name="Mistral",
    model_types=("mistral",),
    stacks=(Stack("decoder", "layers.{}.self_attn"),),
    positions="rotary",
    buffers=(_ANGLES,),
)

QWEN = Family(
    name="Qwen",
    model_types=("qwen2", "qwen3"),
    stacks=(Stack("decoder", "layers.{}.self_attn"),),
    positions="rotary",
    buffers=(_ANGLES,),
)

# As transformers has it; classic GLM is another architecture.
GLM4 = Family(
    name="GLM-4",
    model_types=("glm", "glm4"),
    stacks=(Stack("decoder", "layers.{}.self_attn"),),
    positions="rotary",
    buffers=(_ANGLES,),
)

GPT_NEOX = Family(
    name="GPT-NeoX",
    model_types=("gpt_neox",),
    stacks=(Stack("decoder", "layers.{}.attention"),),
    positions="rotary",
    task_heads=(*TASK_HEADS, "embed_out"),
    vocabulary=VocabularyHead(projection=("lm_head.weight", "embed_out.weight")),
    buffers=(_ANGLES, r"layers\.\d+\.attention\.(bias|masked_bias)"),
    extra_keys=("rotary_pct", "rotary_emb_base"),
    dropout_keys=("attention_dropout", "hidden_dropout"),
)

PHI3 = Family(
    name="Phi-3",
    model_types=("phi3",),
    stacks=(Stack("decoder", "layers.{}.self_attn"),),
    positions="rotary",
    buffers=(_ANGLES,),
    extra_keys=("full_attn_mod", "interpolate_factor"),  # 1 in Phi-4-mini, and never read
    dropout_keys=("attention_dropout", "resid_pdrop", "embd_pdrop"),
)
