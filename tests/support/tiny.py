"""Tiny random backbones, one of every architecture, saved as folders the way they are published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from points import sample
from transformers import AutoConfig, AutoModel

import ptv2_scale.backbones.glm_classic  # noqa: F401 - transformers' Auto classes then know it

SIZES: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 160,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = {"num_key_value_heads": 2, "head_dim": 8}
RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
T5_SIZES: dict[str, Any] = {
    "vocab_size": 120,
    "d_model": 32,
    "d_kv": 12,  # 4 x 12 is not 32: the width of T5-3B's kind
    "d_ff": 48,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
    "pad_token_id": 0,
    "decoder_start_token_id": 0,
}
OVERRIDES: dict[str, dict[str, Any]] = {
    "t5": {"feed_forward_proj": "relu"},
    "mt5": {"feed_forward_proj": "gated-gelu"},
    "glm": {**GROUPED},
    "glm4": {**GROUPED},
    "glm_classic": {"attention_scale": 2.0},
    "bert": {},
    "roberta": {"pad_token_id": 1, "bos_token_id": 0},
    "llama": {**GROUPED},
    "qwen2": {"num_key_value_heads": 2},
    "qwen3": {**GROUPED},
    "gpt2": {"bos_token_id": 2},
    "opt": {"word_embed_proj_dim": 32, "ffn_dim": 48, "pad_token_id": 1},
    "gpt_neox": {},
    "phi3": {"num_key_value_heads": 2},
    "xlm-roberta": {"pad_token_id": 1, "bos_token_id": 0},
    "electra": {"embedding_size": 16},
    "distilbert": {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48},
    "deberta": {**RELATIVE, "position_biased_input": True, "type_vocab_size": 2},
    "deberta-v2": {
        **RELATIVE,
        **{"position_buckets": 4, "norm_rel_ebd": "layer_norm", "share_att_key": True},
        **{"conv_kernel_size": 3, "conv_act": "gelu", "position_biased_input": False},
    },
    "modernbert": {"local_attention": 6, "cls_token_id": 1, "sep_token_id": 2},
    "mistral": {**GROUPED, "sliding_window": 4},
    "gemma": {**GROUPED},
    "gemma2": {
        **GROUPED,
        **{"sliding_window": 4, "query_pre_attn_scalar": 8, "attn_logit_softcapping": 3.0},
    },
    "gemma3_text": {
        **GROUPED,
        **{"sliding_window": 4, "query_pre_attn_scalar": 8, "sliding_window_pattern": 2},
    },
}
MODEL_TYPES = tuple(OVERRIDES)
# What attends as Llama and BERT do.
ALIKE = (
    *("xlm-roberta", "mistral", "distilbert", "gemma", "gemma3_text", "electra", "gemma2"),
    "modernbert",
)
# Of those, every run of the tests takes one where each architecture is tried at length.
SAMPLED_TYPES = [*(kind for kind in MODEL_TYPES if kind not in ALIKE), *sample(list(ALIKE), 1)]
ENCODERS = ("bert", "roberta", "xlm-roberta", "electra", "distilbert", "deberta", "deberta-v2")
BIDIRECTIONAL = ("t5", "mt5", *ENCODERS, "modernbert", "glm_classic")
CAUSAL = tuple(kind for kind in MODEL_TYPES if kind not in BIDIRECTIONAL)


def config_of(model_type: str, **changes: Any) -> Any:
    """A tiny configuration; dropout is zero unless `changes` say otherwise."""
    sizes = T5_SIZES if model_type in ("t5", "mt5") else SIZES
    config = AutoConfig.for_model(model_type, **{**sizes, **OVERRIDES[model_type], **changes})
    for key in vars(config):
        if "drop" in key and isinstance(getattr(config, key), float) and key not in changes:
            setattr(config, key, 0.0)
    return config


def save_backbone(
    model_type: str, folder: Path, spread: float | None = 0.15, **changes: Any
) -> Path:
    """Save a tiny random backbone.

    Its matrices have the standard deviation `spread`, wide enough for attention to matter; None
    leaves them as transformers initialises them, which is nearer to the numbers of trained models.
    """
    torch.manual_seed(7)
    model = AutoModel.from_config(config_of(model_type, **changes))
    with torch.no_grad():
        for parameter in model.parameters():
            if spread is not None and parameter.dim() > 1:
                parameter.normal_(0.0, 0.15)
    model.save_pretrained(folder)
    return folder


def batch_of(padding: str = "right", vocab: int = 120) -> dict[str, torch.Tensor]:
    """Three texts of 9, 6 and 4 tokens, padded on one side; `none`: all of 9 tokens."""
    generator = torch.Generator().manual_seed(3)
    input_ids = torch.randint(5, vocab, (3, 9), generator=generator)
    mask = torch.ones_like(input_ids)
    for row, length in enumerate((9, 9, 9) if padding == "none" else (9, 6, 4)):
        hidden = slice(length, None) if padding == "right" else slice(0, 9 - length)
        mask[row, hidden] = 0
    return {"input_ids": input_ids, "attention_mask": mask}


WORDS = tuple(f"w{number}" for number in range(100))


def save_tokenizer(folder: Path, pad_token_id: int = 0) -> None:
    """Save a tokenizer of whole words beside a backbone; texts end with </s>."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>", "<unk>"]
    special[0], special[pad_token_id] = special[pad_token_id], special[0]
    vocabulary = {word: number for number, word in enumerate([*special, ":", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> $B </s>",
        special_tokens=[(token, vocabulary[token]) for token in ("<s>", "</s>")],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


def rotate_ids(folder: Path) -> None:
    """Give each ordinary word of a saved tokenizer the id of the next one."""
    import json

    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    ids = [vocabulary[word] for word in WORDS]
    vocabulary.update(zip(WORDS, [*ids[1:], ids[0]], strict=True))
    path.write_text(json.dumps(tokenizer))


def write_task(folder: Path, train: int = 20, validation: int = 7) -> None:
    """Write train.jsonl and validation.jsonl: the label says which of two words is in the text."""
    import json
    import random

    source = random.Random(5)
    folder.mkdir(exist_ok=True)
    for name, count in (("train", train), ("validation", validation)):
        rows = []
        for number in range(count):
            words = source.choices(WORDS[10:], k=source.randint(3, 12))
            words.insert(source.randrange(len(words)), WORDS[number % 2])
            rows.append({"text": " ".join(words), "label": ("no", "yes")[number % 2]})
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_recipe(folder: Path, model_type: str = "t5", **sections: Any) -> Path:
    """A complete small job in `folder`: backbone, tokenizer, data and recipe.yaml."""
    import yaml

    save_backbone(model_type, folder / "backbone", **sections.pop("backbone_config", {}))
    save_tokenizer(folder / "backbone", OVERRIDES[model_type].get("pad_token_id", 0))
    write_task(folder / "data")
    recipe = {
        "backbone": {"name": str(folder / "backbone"), "dtype": "fp32", "attention": "sdpa"},
        "prompt": {} if "method" in sections.get("prompt", {}) else {"length": 6},
        "task": {
            "name": "classification", "path": str(folder / "data"), "text": "text",
            "label": "label", "train": "train.jsonl", "validation": "validation.jsonl",
            "max_length": 20,
        },
        "train": {
            "steps": 12, "global_batch": 6, "micro_batch": 1, "lr": 0.01,
            "gradient_checkpointing": True,
        },
        "evaluate": {"every": 4, "micro_batch": 2},
        "deepspeed": "zero3",
        "run": str(folder / "run"),
    }  # fmt: skip
    for name, section in sections.items():
        recipe[name] = {**recipe.get(name, {}), **section} if isinstance(section, dict) else section
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def _language_model_class(model_type: str) -> Any:
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

    kinds: dict[str, Any] = {
        **dict.fromkeys((*ENCODERS, "modernbert"), AutoModelForMaskedLM),
        "t5": AutoModelForSeq2SeqLM,
        "mt5": AutoModelForSeq2SeqLM,
        "glm_classic": AutoModel,  # ours: it projects by its word embeddings
    }
    return kinds.get(model_type, AutoModelForCausalLM)


def save_language_model(model_type: str, folder: Path, **changes: Any) -> Path:
    """Save a tiny random model with its head over the vocabulary, as it is published."""
    torch.manual_seed(7)
    model = _language_model_class(model_type).from_config(config_of(model_type, **changes))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name.lower() or name.endswith("bias"):
                parameter.normal_(0.0, 0.15)
    model.save_pretrained(folder)
    return folder


def load_language_model(folder: Path) -> Any:
    """Transformers' own model of such a folder, head and all."""
    kind = _language_model_class(AutoConfig.from_pretrained(folder).model_type)
    return kind.from_pretrained(folder).eval()


def add_blanks(folder: Path) -> None:
    """Give a saved tokenizer the tokens with which architectures mark and fill blanks."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    more = ["<extra_id_0>", "<|startofpiece|>", "<|endofpiece|>", "[gMASK]"]
    tokenizer.add_special_tokens({"extra_special_tokens": more})
    tokenizer.save_pretrained(folder)


def write_cloze_recipe(folder: Path, model_type: str = "t5", **sections: Any) -> Path:
    """As `write_recipe`, of a model with its head over the vocabulary, asked by a pattern."""
    cloze = {
        "head": "verbalizer",
        "pattern": "{text} w90 w91 {mask}",
        "verbalizer": {"no": "w3", "yes": "w7"},
    }
    task = {**cloze, **sections.pop("task", {})}
    path = write_recipe(folder, model_type, task=task, **sections)
    save_language_model(model_type, folder / "backbone")
    add_blanks(folder / "backbone")
    return path


def write_text_recipe(folder: Path, kind: str, words: int = 90, **sections: Any) -> Path:
    """A job of saying two words in the other order, of a model with its head."""
    import json
    import random

    import yaml

    task = {"kind": "text", "name": "text", "path": str(folder / "texts"), "max_length": 24}
    task |= {"train": "train.jsonl", "validation": "validation.jsonl"}
    recipe = write_recipe(folder, kind, task={}, **sections)
    content = yaml.safe_load(recipe.read_text())
    content["task"] = task
    recipe.write_text(yaml.safe_dump(content))
    save_language_model(kind, folder / "backbone")
    if kind == "glm_classic":
        add_blanks(folder / "backbone")
    (folder / "texts").mkdir()
    source = random.Random(3)
    for name, count in (("train", 40), ("validation", 8)):
        pairs = [source.choices(range(words), k=2) for _ in range(count)]
        rows = [{"input": f"w{a} w{b}", "target": f"w{b} w{a}"} for a, b in pairs]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "texts" / f"{name}.jsonl").write_text(lines)
    return recipe
