"""Keys of a config.json that the built model would leave out, though they change its arithmetic.

Transformers keeps a key that an architecture does not have as a mere attribute, without a word. A
folder of a variant (another norm, ALiBi, multipliers), or of an older transformers whose options
have since been removed, would then run as another model than was published.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from transformers import GenerationConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.runtime.errors import UserError

logger = logging.getLogger(__name__)

# Parts of the names by which architectures call what they compute.
_WORDS = """
    act activation adapter adapters alibi alpha attention attn bias biases bidirectional bit bits
    blocks cap causal clip
    compress conv cross embedding embeddings eps epsilon expert experts factor ffn gate gated glu
    head heads interleaved key kv layer layernorm layers logit logits lora mask mlp moe mrope mscale
    multiplier mup norm normalize normalization nope parallel pos position positional positions
    projection pruned qk qkv query rank relative residual rms rmsnorm rope rotary scale scaled
    scaling shared sink sinks sliding softcap softcapping softmax sparse sparsity swiglu temperature
    theta tie tied tying value window
"""
_ARITHMETIC = frozenset(_WORDS.split())
# Of training, of generating, of speed, of task heads; sizes that the weights' shapes show; and what
# says what a folder is.
_BOOKKEEPING = re.compile(
    r"_.*|.*(dropout.*|drop|pdrop|_token_ids?|_token|_version|_dtype|loss.*|_init|_init_.*)"
    r"|(init|initializer|output|pooler|summary|pretraining|unsloth|classifier|use_cache)(_.*|$)"
    r"|(gradient_checkpointing|use_gradient_checkpointing|use_flash.*|.*attn_implementation"
    r"|n_ctx|n_positions|max_sequence_length|max_position_embeddings|model_max_length|seq_length"
    r"|name_or_path|auto_map|custom_pipelines|torchscript|use_bfloat16|tf_legacy_loss|model_type"
    r"|task_specific_params|finetuning_task|num_labels|tokenizer_class|prefix|directionality"
    r"|intermediate_size|ffn_dim|d_ff|(.*_)?hidden_size|(.*_)?vocab_size|embedding_size"
    r"|tie_word_embeddings|is_encoder_decoder|is_decoder|quantization_config)"
)
# Values that name what an architecture does anyway.
_PLAIN = ("absolute", "default", "none", "original_full", "full")
# A neutral 1 of a product.
_FACTOR = re.compile(r".*(multiplier|scale|scaling|factor|ratio|alpha|temperature)")


# What transformers computes rotary angles from, under any rope_type.
_ROPE_KEYS = frozenset(
    {
        *("rope_type", "type", "rope_theta", "partial_rotary_factor", "factor", "attention_factor"),
        *("original_max_position_embeddings", "beta_fast", "beta_slow", "truncate", "mscale"),
        *("mscale_all_dim", "short_factor", "long_factor", "low_freq_factor", "high_freq_factor"),
    }
)
_LAYER_TYPES = ("full_attention", "sliding_attention")


def check_keys(content: Mapping[str, Any], config: Config, family: Family, source: str) -> None:
    """Refuse keys of a config.json that no code reads and that are about the model's arithmetic.

    Others that nobody reads are named in a warning.

    Args:
        content: of the file.
        config: made from it.
        family: of the backbone.
        source: the file, for the message.

    Raises:
        UserError: names the keys, or what is not known of rotary positions.
    """
    if not _is_known_class(config):
        return  # the folder's own code says what its keys mean
    unread = dict(_unread(content, type(config), family))
    refused = [f"{key}: {value!r:.40}" for key, value in unread.items() if _is_arithmetic(key)]
    if refused:
        raise UserError(
            f"{source}: {'; '.join(refused)}: keys of this {family.name} that no code here reads"
            " (another architecture's, or removed from transformers), so it would compute"
            " something else than was published. If they change nothing, take them out of a copy"
            " of the folder."
        )
    _check_rope(getattr(config, "rope_parameters", None), source)
    if unread:
        logger.warning(f"{source}: keys that no code here reads: {', '.join(unread)}")


def _check_rope(found: Any, source: str) -> None:
    """Transformers leaves out what it does not know of rotary angles, too."""
    if not isinstance(found, Mapping):
        return
    if set(found) <= set(_LAYER_TYPES):  # angles of their own for each
        for inner in found.values():
            _check_rope(inner, source)
        return
    kind, known = found.get("rope_type", "default"), ("default", *ROPE_INIT_FUNCTIONS)
    if kind not in known:
        allowed = ", ".join(dict.fromkeys(known))
        raise UserError(f"{source}: rope_type is {kind!r:.40}; this transformers has {allowed}.")
    unread = [key for key in found if key not in _ROPE_KEYS and not _is_neutral(key, found[key])]
    if unread:
        raise UserError(
            f"{source}: rotary positions with {', '.join(unread)}, which no code here reads; known"
            f" are {', '.join(sorted(_ROPE_KEYS))}."
        )


def _is_known_class(config: Config) -> bool:
    return type(config).__module__.startswith(("transformers.", "ptv2_scale."))


def _unread(content: Mapping[str, Any], kind: Any, family: Family) -> Iterator[tuple[str, Any]]:
    known = _keys_of(kind) | set(family.extra_keys)
    for key, value in content.items():
        if key not in known and not _BOOKKEEPING.fullmatch(key) and not _is_neutral(key, value):
            yield key, value


@cache
def _keys_of(kind: Any) -> frozenset[str]:
    own = {*kind.__dataclass_fields__, *kind.attribute_map, *kind().to_dict()}
    if "rope_parameters" in own:  # made from these where they are the file's
        own |= {"rope_theta", "rope_scaling", "partial_rotary_factor"}
    return frozenset(own | set(vars(GenerationConfig())))


def _is_neutral(key: str, value: Any) -> bool:
    if isinstance(value, str):
        return value.lower() in ("", *_PLAIN)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value == 0 or (value == 1 and _FACTOR.fullmatch(key) is not None)
    if isinstance(value, Mapping):
        return not any(value.values())
    return not value and key not in ("is_causal", "use_rope")


def _is_arithmetic(key: str) -> bool:
    parts = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", key).lower())
    return key == "transformers_weights" or not _ARITHMETIC.isdisjoint(parts)
