"""T5, T5 v1.1, flan-T5 (model_type t5) and mT5: three kinds of slots, relative position bias."""

from ptv2_scale.backbones.family import Config, Family, Stack, VocabularyHead


def _decoder_layers(config: Config) -> int:
    return int(config.num_decoder_layers or config.num_layers)


def _decoder_start(config: Config) -> int | None:
    """The pad token where none is named, which T5 was trained with, as transformers says."""
    start: int | None = getattr(config, "decoder_start_token_id", None)
    pad: int | None = config.pad_token_id
    return pad if start is None else start


def _output_scale(config: Config) -> float:
    """What keeps the logits of tied embeddings small: Raffel et al. (JMLR 2020) train with it."""
    return float(config.d_model**-0.5) if getattr(config, "scale_decoder_outputs", False) else 1.0


def _refuse(config: Config) -> str | None:
    start = _decoder_start(config)
    if not isinstance(start, int):
        return (
            "config.json has neither decoder_start_token_id nor pad_token_id, so nobody knows where"
            " its decoder starts; set decoder_start_token_id"
        )
    if not 0 <= start < config.vocab_size:
        return f"its decoder starts from token {start}, and vocab_size is {config.vocab_size}"
    return None


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
    decoder_start=_decoder_start,
    refuse=_refuse,
    task_heads=("lm_head", "classification_head", "classifier", "qa_outputs"),
    # Version 1.1 has a tensor of its own, and mT5 never scales.
    vocabulary=VocabularyHead(tied=lambda config: True, scale=_output_scale, blank="sentinel"),
    # A table that published checkpoints have and no code ever used.
    buffers=(r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",),
    kv_heads=lambda config: int(config.num_heads),
    # num_heads * d_kv need not be d_model: 4096 against 1024 in T5-3B.
    head_dim=lambda config: int(config.d_kv),
    no_peft="it gives T5's encoder and cross-attention no prefix, and no T5 classification head",
)
