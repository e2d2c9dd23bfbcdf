"""RoBERTa and XLM-RoBERTa: BERT's shape, positions counted from padding_idx + 1."""

from ptv2_scale.backbones.families.bert import refuse_decoder
from ptv2_scale.backbones.family import Config, Family, Stack, VocabularyHead


def _refuse(config: Config) -> str | None:
    if config.pad_token_id is None:
        return "config.json has no pad_token_id, from which its positions are counted; set it"
    return refuse_decoder(config)


ROBERTA = Family(
    name="RoBERTa",
    model_types=("roberta", "xlm-roberta"),
    stacks=(Stack("encoder", "encoder.layer.{}.attention.self"),),
    positions="table",
    default_head="hf",
    hf_head="roberta",
    pool="first",
    text_style="pair",
    dropout_keys=("hidden_dropout_prob", "attention_probs_dropout_prob"),
    position_offset=lambda config: int(config.pad_token_id) + 1,
    # Published ones have one row, whatever their tokenizers give.
    token_types=True,
    pooler=True,
    # Its activation is GELU, whatever hidden_act says.
    vocabulary=VocabularyHead(
        projection=("lm_head.decoder.weight",),
        bias=("lm_head.bias", "lm_head.decoder.bias"),
        dense="lm_head.dense",
        norm="lm_head.layer_norm",
        blank="mask",
    ),
    buffers=(r"embeddings\.position_ids",),
    refuse=_refuse,
)
