"""Keys of config.json that no code reads: refused where they are about the arithmetic."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import batch_of, save_backbone, save_tokenizer, write_recipe
from transformers import AutoConfig, AutoModel

from ptv2_scale.backbones.load import load_backbone, open_backbone
from ptv2_scale.cli import main
from ptv2_scale.runtime.errors import UserError

# As published, or as transformers 4 had them.
CHANGING: list[tuple[str, str, Any]] = [
    ("bert", "position_embedding_type", "relative_key_query"),
    ("bert", "position_embedding_type", "relative_key"),
    ("roberta", "position_embedding_type", "relative_key"),
    ("bert", "pruned_heads", {"0": [1]}),
    ("bert", "attention_window", [64, 64, 64]),
    ("t5", "tie_encoder_decoder", True),
    ("llama", "alibi", True),
    ("llama", "residual_multiplier", 0.22),
    ("llama", "attention_multiplier", 0.0078125),
    ("llama", "embedding_multiplier", 12.0),
    ("llama", "logits_scaling", 8.0),
    ("llama", "clip_qkv", 8.0),
    ("llama", "qk_layernorm", True),
    ("llama", "sliding_window", 64),
    ("llama", "final_logit_softcapping", 30.0),
    ("llama", "no_rope_layers", [1, 1, 0]),
    ("llama", "is_causal", False),
    ("llama", "per_layer_config", {"1": {"intermediate_size": 24}}),
    ("llama", "transformers_weights", "other.safetensors"),
    ("llama", "num_local_experts", 8),
    ("llama", "weight_bits", 1),
    ("llama", "use_bidirectional", True),
    ("qwen2", "mup_scale", 2.5),
    ("gpt2", "use_alibi", True),
    ("gpt2", "rope_theta", 10000.0),
    ("opt", "use_rotary", True),
    ("gpt_neox", "parallel_attn_output", True),
    ("phi3", "query_pre_attn_scalar", 144),
    ("glm4", "add_qkv_norm", True),
    ("llama", "attn_logit_softcapping", 30.0),
    ("mistral", "qk_layernorm", True),
    ("gemma3_text", "num_kv_shared_layers", 2),
    ("deberta-v2", "attention_window", 64),
    ("electra", "position_embedding_type", "relative_key"),
    ("distilbert", "tie_encoder_decoder", True),
    ("modernbert", "head_pred_act", "gelu"),
]

HARMLESS: list[tuple[str, dict[str, Any]]] = [
    ("bert", {"position_embedding_type": "absolute", "gradient_checkpointing": False,
              "directionality": "bidi", "pooler_num_attention_heads": 12, "pooler_fc_size": 768,
              "pooler_type": "first_token_transform", "output_past": True, "pruned_heads": {}}),
    ("roberta", {"output_past": True, "torch_dtype": "float32", "tokenizer_class": "X"}),
    ("t5", {"n_positions": 512, "output_past": True, "gradient_checkpointing": False,
            "task_specific_params": {"translation": {"prefix": "translate: "}}}),
    ("gpt2", {"n_ctx": 1024, "summary_type": "cls_index", "summary_first_dropout": 0.1,
              "task_specific_params": {"text-generation": {"do_sample": True}}}),
    ("opt", {"activation_dropout": 0.0, "prefix": "</s>", "_remove_final_layer_norm": False,
             "init_std": 0.006, "layerdrop": 0.0}),
    ("gpt_neox", {"rotary_pct": 0.25, "rotary_emb_base": 10000, "hidden_dropout_prob": 0.1,
                  "attention_probs_dropout_prob": 0.1}),
    ("opt", {"learned_embeddings": True, "scale_embeddings": False}),
    ("roberta", {"adapters": {"adapters": {}, "config_map": {}}}),
    ("llama", {"pretraining_tp": 1, "rope_theta": 5e5, "temperature": 0.6, "top_p": 0.9,
               "rope_scaling": None, "max_sequence_length": 2048, "unsloth_version": "2024.9",
               "residual_multiplier": 1.0, "sliding_window": None, "_flash_attn_2_enabled": True}),
    ("qwen2", {"use_mrope": False, "use_sliding_window": False, "rope_theta": 1e6}),
    ("phi3", {"full_attn_mod": 1, "interpolate_factor": 1, "lm_head_bias": False}),
    ("phi3", {"auto_map": {}, "attention_bias": False, "embd_pdrop": 0.0}),
    ("glm_classic", {"parallel_output": True, "checkpoint_activations": False,
                     "checkpoint_num_layers": 1, "pool_token": "cls", "spell_func": "lstm",
                     "spell_length": None, "attention_scale": 1.0}),
    ("mistral", {"rope_theta": 1e6, "sliding_window": None, "use_cache": True}),
    ("gemma", {"hidden_act": "gelu", "hidden_activation": "gelu_pytorch_tanh"}),
    ("gemma2", {"hidden_act": "gelu_pytorch_tanh", "sliding_window_size": 4, "rope_theta": 1e4,
                "cache_implementation": "hybrid", "final_logit_softcapping": 30.0}),
    ("gemma3_text", {"sliding_window_pattern": 6, "rope_local_base_freq": 1e4, "rope_theta": 1e6,
                     "cache_implementation": "hybrid", "final_logit_softcapping": None,
                     "rope_scaling": {"factor": 8.0, "rope_type": "linear"}}),
    ("electra", {"summary_use_proj": True, "summary_activation": "gelu", "summary_type": "first",
                 "position_embedding_type": "absolute"}),
    ("distilbert", {"tie_weights_": True, "sinusoidal_pos_embds": False, "qa_dropout": 0.1,
                    "seq_classif_dropout": 0.2}),
    ("deberta", {"padding_idx": 0, "pooler_dropout": 0, "pooler_hidden_act": "gelu",
                 "pooler_size": 32, "max_relative_positions": -1}),
    ("deberta-v2", {"attention_head_size": 8, "conv_act": "gelu", "pooler_dropout": 0,
                    "norm_rel_ebd": "layer_norm", "pos_att_type": "p2c|c2p",
                    "share_att_key": True, "position_buckets": 4}),
    ("modernbert", {"global_attn_every_n_layers": 3, "global_rope_theta": 1.6e5,
                    "local_rope_theta": 1e4, "layer_norm_eps": 1e-5, "reference_compile": True,
                    "position_embedding_type": "absolute", "classifier_pooling": "mean",
                    "repad_logits_with_grad": False, "sparse_prediction": False}),
]  # fmt: skip


def with_keys(folder: Path, kind: str, keys: dict[str, Any]) -> Path:
    save_backbone(kind, folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))
    return folder


@pytest.mark.parametrize(("kind", "key", "value"), CHANGING)
def test_keys_that_change_the_arithmetic_are_refused(
    kind: str, key: str, value: Any, tmp_path: Path
) -> None:
    folder = with_keys(tmp_path, kind, {key: value})
    with pytest.raises(UserError) as caught:
        open_backbone(str(folder))
    assert str(caught.value).startswith(f"{folder / 'config.json'}: {key}: {value!r:.40}: keys of")


def test_transformers_takes_such_a_key_without_a_word(tmp_path: Path) -> None:
    """What makes the refusal necessary."""
    folder = with_keys(tmp_path, "bert", {"position_embedding_type": "relative_key"})
    found = AutoConfig.from_pretrained(folder)
    assert "position_embedding_type" not in type(found).__dataclass_fields__
    assert found.position_embedding_type == "relative_key"


@pytest.mark.parametrize(("kind", "keys"), HARMLESS)
def test_keys_of_published_folders_are_taken_in_silence(
    kind: str, keys: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        open_backbone(str(with_keys(tmp_path, kind, keys)))
    assert not [one for one in caplog.records if one.name.startswith("ptv2_scale")]


@pytest.mark.parametrize(
    ("rope", "words"),
    [
        ({"type": "mrope", "mrope_section": [1, 1, 2]}, "rope_type is 'mrope'"),
        ({"rope_type": "su", "factor": 2.0}, "rope_type is 'su'"),
        ({"rope_type": "linear", "factor": 2.0, "interleaved": True}, "with interleaved, which"),
    ],
)
def test_rotary_positions_that_no_code_computes(
    rope: dict[str, Any], words: str, tmp_path: Path
) -> None:
    folder = with_keys(tmp_path, "llama", {"rope_scaling": rope, "rope_parameters": None})
    with pytest.raises(UserError, match=words):
        open_backbone(str(folder))


@pytest.mark.parametrize(
    "rope",
    [
        {"type": "linear", "factor": 2.0},
        {"rope_type": "dynamic", "factor": 4.0},
        {"rope_type": "yarn", "factor": 4.0, "beta_fast": 32, "beta_slow": 1, "mscale": 1.0},
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
         "original_max_position_embeddings": 64},
    ],
)  # fmt: skip
def test_rotary_positions_as_published(rope: dict[str, Any], tmp_path: Path) -> None:
    folder = with_keys(tmp_path, "llama", {"rope_scaling": rope, "rope_parameters": None})
    with torch.no_grad():
        ours = load_backbone(str(folder))(**batch_of("none")).last_hidden_state
        theirs = AutoModel.from_pretrained(folder)(**batch_of("none")).last_hidden_state
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_others_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = with_keys(tmp_path, "llama", {"curriculum": "yes", "mlx": 3})
    with caplog.at_level(logging.WARNING):
        open_backbone(str(folder))
    assert "keys that no code here reads: curriculum, mlx" in caplog.text


def test_the_command_line_refuses_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(tmp_path, "bert")
    with_keys(tmp_path / "backbone", "bert", {"position_embedding_type": "relative_key"})
    save_tokenizer(tmp_path / "backbone")
    assert main(["inspect", str(recipe)]) == 2
    assert "position_embedding_type: 'relative_key'" in capsys.readouterr().err
