"""T5, T5 v1.1, flan-T5 (model_type t5) and mT5: three kinds of slots, relative position bias."""

from ptv2_scale.backbones.family import Config, Family, Stack


def _decoder_layers(config: Config) -> int:
    return int(config.num_decoder_layers or config.num_layers)


T5 = Family(
    name="T5",
    model_types=("t5", "mt5"),
    stacks=(
        Stack("encoder", "encoder.block.{}.layer.0.SelfAttention"),
        Stack("decoder", "decoder.block.{}.layer.0.SelfAttention", _decoder_layers),
        Stack("cross", "decoder.block.{}.layer.1.EncDecAttention", _decoder_layers),
    ),
    positions="none",
    hf_head=None,
    pool="first",
    dropout_keys=("dropout_rate",),
    encoder_decoder=True,
    task_heads=("lm_head", "classification_head", "classifier", "qa_outputs"),
    # A table that published checkpoints have and no code ever used.
    buffers=(r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",),
    kv_heads=lambda config: int(config.num_heads),
    # num_heads * d_kv need not be d_model: 4096 against 1024 in T5-3B.
    head_dim=lambda config: int(config.d_kv),
)
