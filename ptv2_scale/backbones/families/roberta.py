"""RoBERTa and XLM-RoBERTa: BERT's shape, positions counted from padding_idx + 1."""

from ptv2_scale.backbones.families.bert import refuse_decoder
from ptv2_scale.backbones.family import Family, Stack

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
    pooler=True,
    buffers=(r"embeddings\.position_ids",),
    refuse=refuse_decoder,
)
