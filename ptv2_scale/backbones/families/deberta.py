"""DeBERTa and DeBERTa v2 and v3: disentangled attention, relative positions, a table in few."""

from ptv2_scale.backbones.disentangled import take_prefix
from ptv2_scale.backbones.families.bert import NO_CACHE
from ptv2_scale.backbones.family import TASK_HEADS, Config, Family, Stack, VocabularyHead


def _head_dim(config: Config) -> int:
    own = getattr(config, "attention_head_size", None)
    return int(own or config.hidden_size // config.num_attention_heads)


def _position_table(config: Config) -> int | None:
    return int(config.max_position_embeddings) if config.position_biased_input else None


def _refuse(config: Config) -> str | None:
    if getattr(config, "talking_head", False):
        return "talking_head is set, which mixes the scores of all heads"
    return None


DEBERTA = Family(
    name="DeBERTa",
    model_types=("deberta", "deberta-v2"),
    stacks=(Stack("encoder", "encoder.layer.{}.attention.self"),),
    positions="table",
    # transformers' head has a GELU between two layers, which no head here has.
    hf_head=None,
    pool="first",
    text_style="pair",
    dropout_keys=("hidden_dropout_prob", "attention_probs_dropout_prob"),
    token_types=True,
    token_types_optional=True,
    disentangled=True,
    task_heads=(*TASK_HEADS, "cls", "pooler", "lm_predictions", "mask_predictions"),
    vocabulary=VocabularyHead(
        refusal="its published files keep several kinds of it, and of v3 one that was not trained"
    ),
    # Files have a table of positions that a model without position_biased_input never reads.
    buffers=(r"embeddings\.position_ids", r"embeddings\.position_embeddings\.weight"),
    extra_keys=(
        "attention_head_size",
        "conv_act",
        "conv_groups",
        "conv_kernel_size",
        "embedding_size",
        "norm_rel_ebd",
        "padding_idx",
        "position_buckets",
        "share_att_key",
    ),
    position_table=_position_table,
    head_dim=_head_dim,
    input_width=lambda config: getattr(config, "embedding_size", None),
    prepare=take_prefix,
    no_peft=NO_CACHE,
    refuse=_refuse,
)
