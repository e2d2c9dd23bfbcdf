"""ModernBERT: bidirectional, rotary positions, sliding windows in two of three layers."""

from ptv2_scale.backbones.families.bert import NO_CACHE
from ptv2_scale.backbones.family import Family, Stack, VocabularyHead, contradiction

_SECOND = {"layer_norm_eps": "norm_eps"}


MODERNBERT = Family(
    name="ModernBERT",
    model_types=("modernbert",),
    stacks=(Stack("encoder", "layers.{}.attn"),),
    positions="rotary",
    # transformers' head has a GELU and a norm between two layers, which no head here has.
    hf_head=None,
    pool="first",
    text_style="pair",
    dropout_keys=("attention_dropout", "embedding_dropout", "mlp_dropout"),
    task_heads=("head", "decoder", "classifier"),
    vocabulary=VocabularyHead(refusal="its layer and its norm have no biases"),
    # Read when the configuration is made, but for the last three: a second name, and two of speed.
    extra_keys=(
        "global_attn_every_n_layers",
        "global_rope_theta",
        "local_rope_theta",
        *_SECOND,
        "reference_compile",
        "repad_logits_with_grad",
    ),
    no_peft=NO_CACHE,
    refuse=lambda config: contradiction(config, _SECOND),
)
