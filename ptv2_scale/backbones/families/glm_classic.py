"""Classic GLM (base to 10B): two position tables at the input only, which a prefix never enters."""

from ptv2_scale.backbones.family import Config, Family, Stack, VocabularyHead


def _refuse(config: Config) -> str | None:
    if config.relative_encoding:
        return "relative_encoding is set; only learned positions are supported"
    if not config.block_position_encoding:
        return "block_position_encoding is off; only 2-D positions are supported"
    if config.hidden_size % config.num_attention_heads:
        return (
            f"hidden_size {config.hidden_size} is no multiple of"
            f" num_attention_heads {config.num_attention_heads}"
        )
    return None


GLM_CLASSIC = Family(
    name="classic GLM",
    model_types=("glm_classic",),
    stacks=(Stack("decoder", "transformer.layers.{}.attention"),),
    positions="blocks",
    hf_head=None,
    pool="first",
    text_style="pair",
    dropout_keys=("embedding_dropout_prob", "attention_dropout_prob", "output_dropout_prob"),
    # A head reads the hidden states; logits of the vocabulary would be as large as all the rest.
    forward_options={"output_predict": False},
    vocabulary=VocabularyHead(projection=(), tied=lambda config: True, blank="piece"),
    extra_keys=(
        "checkpoint_activations",
        "checkpoint_num_layers",
        "parallel_output",
        "pool_token",
        "spell_func",
        "spell_length",
    ),
    no_peft="it works on transformers' models, and transformers has no classic GLM",
    refuse=_refuse,
)
