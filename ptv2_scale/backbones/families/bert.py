"""BERT: bidirectional, a learned position table that prefix and text share."""

from ptv2_scale.backbones.family import TASK_HEADS, Config, Family, Stack, VocabularyHead

NO_CACHE = (
    "transformers' model takes no keys and values from outside, by which PEFT's prefix enters, and"
    " its classification head has no counterpart here"
)


def refuse_decoder(config: Config) -> str | None:
    """BERT and RoBERTa are prompted as encoders only."""
    return "is_decoder is set; only encoders are supported" if config.is_decoder else None


BERT = Family(
    name="BERT",
    model_types=("bert",),
    stacks=(Stack("encoder", "encoder.layer.{}.attention.self"),),
    positions="table",
    default_head="hf",
    hf_head="bert",
    pool="first",
    text_style="pair",
    dropout_keys=("hidden_dropout_prob", "attention_probs_dropout_prob"),
    token_types=True,
    pooler=True,
    task_heads=(*TASK_HEADS, "cls"),
    vocabulary=VocabularyHead(
        projection=("cls.predictions.decoder.weight",),
        bias=("cls.predictions.bias", "cls.predictions.decoder.bias"),
        dense="cls.predictions.transform.dense",
        norm="cls.predictions.transform.LayerNorm",
        activation=lambda config: str(config.hidden_act),
        blank="mask",
    ),
    buffers=(r"embeddings\.position_ids",),
    refuse=refuse_decoder,
)
