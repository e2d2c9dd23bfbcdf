"""DistilBERT: BERT's shape without token types and pooler."""

from ptv2_scale.backbones.families.bert import NO_CACHE
from ptv2_scale.backbones.family import TASK_HEADS, Family, Stack, VocabularyHead

DISTILBERT = Family(
    name="DistilBERT",
    model_types=("distilbert",),
    stacks=(Stack("encoder", "transformer.layer.{}.attention"),),
    positions="table",
    # transformers' head has a ReLU between two layers, which no head here has.
    hf_head=None,
    pool="first",
    text_style="pair",
    dropout_keys=("dropout", "attention_dropout"),
    task_heads=(
        *TASK_HEADS,
        "pre_classifier",
        "vocab_transform",
        "vocab_layer_norm",
        "vocab_projector",
    ),
    vocabulary=VocabularyHead(
        projection=("vocab_projector.weight",),
        bias=("vocab_projector.bias",),
        dense="vocab_transform",
        norm="vocab_layer_norm",
        activation=lambda config: str(config.activation),
        epsilon=lambda config: 1e-12,
        blank="mask",
    ),
    buffers=(r"embeddings\.position_ids",),
    extra_keys=("tie_weights_",),  # of the vocabulary's head
    no_peft=NO_CACHE,
)
