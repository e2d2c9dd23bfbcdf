"""GPT-2: a learned position table that prefix and text share."""

from ptv2_scale.backbones.family import TASK_HEADS, Config, Family, Stack


def _refuse(config: Config) -> str | None:
    if config.reorder_and_upcast_attn:
        return "reorder_and_upcast_attn takes a road of its own through attention; set it to false"
    return None


GPT2 = Family(
    name="GPT-2",
    model_types=("gpt2",),
    stacks=(Stack("decoder", "h.{}.attn"),),
    positions="table",
    dropout_keys=("attn_pdrop", "resid_pdrop", "embd_pdrop"),
    task_heads=(*TASK_HEADS, "multiple_choice_head"),
    # The causal mask, as a table.
    buffers=(r"h\.\d+\.(attn|crossattention)\.(bias|masked_bias)",),
    refuse=_refuse,
)
