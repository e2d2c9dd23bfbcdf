"""Gemma, Gemma 2 and the text models of Gemma 3: rotary positions, sliding windows, soft caps."""

from ptv2_scale.backbones.family import Config, Family, Stack, VocabularyHead, contradiction

# As published files have them beside the name that is read.
_FIRST = {"hidden_activation": "hidden_act"}
_LATER = {"hidden_act": "hidden_activation", "sliding_window_size": "sliding_window"}


def _refuse(config: Config) -> str | None:
    if getattr(config, "use_bidirectional_attention", None):
        return "use_bidirectional_attention is set; only causal ones are supported"
    if config.model_type == "gemma3_text" and config.attn_logit_softcapping:
        return "attn_logit_softcapping is set, which transformers' Gemma 3 leaves out"
    return contradiction(config, _FIRST if config.model_type == "gemma" else _LATER)


GEMMA = Family(
    name="Gemma",
    model_types=("gemma", "gemma2", "gemma3_text"),
    stacks=(Stack("decoder", "layers.{}.self_attn"),),
    positions="rotary",
    # Gemma's first version has no cap.
    vocabulary=VocabularyHead(cap=lambda config: getattr(config, "final_logit_softcapping", None)),
    buffers=(r"(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq",),
    # The last two are read when the configuration is made.
    extra_keys=(*_FIRST, *_LATER, "sliding_window_pattern", "rope_local_base_freq"),
    refuse=_refuse,
)
