"""ELECTRA: BERT's shape without a pooler, word embeddings narrower than the layers."""

from ptv2_scale.backbones.families.bert import refuse_decoder
from ptv2_scale.backbones.family import TASK_HEADS, Family, Stack, VocabularyHead

ELECTRA = Family(
    name="ELECTRA",
    model_types=("electra",),
    stacks=(Stack("encoder", "encoder.layer.{}.attention.self"),),
    positions="table",
    # transformers' head has a GELU where RoBERTa's has a tanh.
    hf_head=None,
    pool="first",
    text_style="pair",
    dropout_keys=("hidden_dropout_prob", "attention_probs_dropout_prob"),
    token_types=True,
    task_heads=(
        *TASK_HEADS,
        "discriminator_predictions",
        "generator_predictions",
        "generator_lm_head",
        "sequence_summary",
    ),
    vocabulary=VocabularyHead(
        refusal="a discriminator was trained without one, and a generator's is narrower than it"
    ),
    buffers=(r"embeddings\.position_ids",),
    input_width=lambda config: int(config.embedding_size),
    no_peft="its classification head in transformers has no counterpart here",
    refuse=refuse_decoder,
)
