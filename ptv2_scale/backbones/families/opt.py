"""OPT: a learned position table (its own offset of two is added inside the model)."""

from ptv2_scale.backbones.family import Family, Stack

OPT = Family(
    name="OPT",
    model_types=("opt",),
    stacks=(Stack("decoder", "decoder.layers.{}.self_attn"),),
    positions="table",
    dropout_keys=("attention_dropout", "dropout", "activation_dropout"),
    extra_keys=("learned_embeddings",),  # Galactica's, and OPT's own way
    buffers=(r"decoder\.version",),
    # OPT-350M projects its last hidden state down to the width of its word embeddings.
    width=lambda config: int(config.word_embed_proj_dim),
)
