"""Backbone folders of strangers: config.json and tokenizer files, through what `inspect` does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from arena import Arena
from hypothesis import given
from hypothesis import strategies as st
from strategies import damaged, file_names, json_bytes, trials
from tiny import WORDS, save_backbone, save_tokenizer, write_task
from transformers import CONFIG_MAPPING

from ptv2_scale.backbones.load import open_backbone
from ptv2_scale.cli.inspection import describe
from ptv2_scale.config import RunConfig
from ptv2_scale.model.setup import build_model, first_values, open_setup

KINDS = ("bert", "llama", "t5", "gpt2")
CODE = "import pathlib\npathlib.Path({canary!r}).write_text('ran')\nclass Model: ...\n"


@pytest.fixture(scope="module")
def folders(arena: Arena) -> dict[str, Path]:
    made = {}
    write_task(arena.inside / "data")
    for kind in KINDS:
        made[kind] = save_backbone(kind, arena.inside / kind)
        save_tokenizer(made[kind])
        # What a folder with code of its own would have beside its configuration.
        for name in ("modeling_evil", "tokenization_evil", "configuration_evil"):
            (made[kind] / f"{name}.py").write_text(CODE.format(canary=str(arena.canary)))
    return made


def recipe(folder: Path | str) -> RunConfig:
    return RunConfig.model_validate({
        "backbone": {"name": str(folder), "dtype": "fp32"},
        "prompt": {"length": 2},
        "task": {"name": "demo", "path": "data", "max_length": 16},
    })  # fmt: skip


def spoilt(arena: Arena, folder: Path, name: str, content: bytes) -> Path:
    """A copy of the folder with one file replaced; weights are linked."""
    copy = arena.inside / "spoilt"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.safetensors"))
    (copy / "model.safetensors").symlink_to(folder / "model.safetensors")
    (copy / name).write_bytes(content)
    return copy


def inspect(folder: Path) -> None:
    describe(recipe(folder))


def encode(folder: Path) -> None:
    open_setup(recipe(folder)).split("validation")


def first(folder: Path) -> None:
    setup = open_setup(recipe(folder))
    build_model(setup)
    first_values(setup)


@pytest.mark.parametrize("dropout", [-1, 10, float("nan"), "0.1", [0.1], 10**400])
def test_dropout_of_a_head(arena: Arena, folders: dict[str, Path], dropout: object) -> None:
    content = json.loads((folders["bert"] / "config.json").read_text())
    content["classifier_dropout"] = dropout
    copy = spoilt(arena, folders["bert"], "config.json", json.dumps(content).encode())
    arena.attempt("backbone config", lambda: first(copy))


@trials(3)
@given(data=st.data())
def test_configurations(arena: Arena, folders: dict[str, Path], data: st.DataObject) -> None:
    folder = folders[data.draw(st.sampled_from(KINDS))]
    valid = json.loads((folder / "config.json").read_text())
    content = data.draw(json_bytes(valid, str(arena.canary)))
    copy = spoilt(arena, folder, "config.json", content)
    arena.attempt("backbone config", lambda: first(copy))


SIZES = [
    ("num_hidden_layers", 10**9), ("num_hidden_layers", 10**30), ("num_hidden_layers", -5),
    ("num_hidden_layers", 0), ("hidden_size", 10**9), ("hidden_size", 2**62), ("hidden_size", 0),
    ("num_attention_heads", 0), ("num_attention_heads", 10**9), ("head_dim", 10**12),
    ("max_position_embeddings", 10**12), ("vocab_size", 10**15), ("intermediate_size", 10**18),
    ("vocab_size", -1), ("num_layers", 10**9), ("d_model", 10**12), ("d_kv", 10**10),
    ("num_decoder_layers", 10**9), ("n_layer", 10**9), ("n_embd", 10**9), ("n_positions", 10**12),
    ("rope_parameters", {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 1e9}),
    ("rope_parameters", {"rope_type": "yarn", "factor": 1e30, "rope_theta": -1}),
    ("relative_attention_num_buckets", 10**9), ("num_key_value_heads", 10**9),
    ("layer_types", ["full_attention"] * 10**6), ("head_dim", 2**24), ("num_hidden_layers", 10_000),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_are_refused_before_time_and_memory_are_spent(
    arena: Arena, folders: dict[str, Path], kind: str
) -> None:
    valid = json.loads((folders[kind] / "config.json").read_text())
    for key, value in SIZES:
        content = json.dumps({**valid, key: value}).encode()
        copy = spoilt(arena, folders[kind], "config.json", content)
        error = arena.attempt("backbone config", lambda copy=copy: first(copy))
        if key in valid and isinstance(value, int) and not 0 < value < 2**24:
            assert error is not None
            assert "config.json" in str(error)


CODE_MAPS = [
    {"auto_map": {"AutoConfig": "configuration_evil.Model", "AutoModel": "modeling_evil.Model"}},
    {"auto_map": {"AutoTokenizer": ["tokenization_evil.Model", None]}},
    {"auto_map": {"AutoTokenizer": ["x/y--tokenization_evil.Model", None]}},
    {"auto_map": {"AutoModel": "../outside/mine.Model"}, "model_type": "evil"},
    {"tokenizer_class": "tokenization_evil.Model"},
    {"_attn_implementation": "x/y"}, {"attn_implementation": "flash_attention_2"},
    {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
    {"quantization_config": {"quant_method": "evil"}}, {"dtype": "__import__('os')"},
    {"transformers_version": "99"}, {"custom_pipelines": {"x": {"impl": "modeling_evil.Model"}}},
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_in_the_folder_is_never_run(
    arena: Arena, folders: dict[str, Path], kind: str, name: str
) -> None:
    valid = json.loads((folders[kind] / name).read_text())
    for change in CODE_MAPS:
        content = json.dumps({**valid, **change}).encode()
        copy = spoilt(arena, folders[kind], name, content)
        arena.attempt("code beside a backbone", lambda copy=copy: encode(copy))


@trials(2)
@given(data=st.data())
def test_tokenizers(arena: Arena, folders: dict[str, Path], data: st.DataObject) -> None:
    folder = folders["bert"]
    name = data.draw(st.sampled_from(["tokenizer.json", "tokenizer.json", "tokenizer_config.json"]))
    valid = json.loads((folder / name).read_text())
    content = data.draw(json_bytes(valid, str(arena.canary)))
    copy = spoilt(arena, folder, name, content)
    arena.attempt("tokenizer", lambda: encode(copy))


@trials(0.5)
@given(data=st.data())
def test_vocabularies(arena: Arena, folders: dict[str, Path], data: st.DataObject) -> None:
    """Old kinds of tokenizers: word lists, merges, sentencepiece models."""
    kind, name, good = data.draw(st.sampled_from([
        ("bert", "vocab.txt", "\n".join(["[UNK]", "[PAD]", "[CLS]", "[SEP]", *WORDS]).encode()),
        ("gpt2", "vocab.json", json.dumps({word: n for n, word in enumerate(WORDS)}).encode()),
        ("t5", "spiece.model", b"\n\x07\n\x01a\x15\x00\x00\x00\x00" * 9),
    ]))  # fmt: skip
    copy = spoilt(arena, folders[kind], name, data.draw(damaged(good) | st.just(good)))
    for old in ("tokenizer.json", "tokenizer_config.json"):
        (copy / old).unlink()
    (copy / "merges.txt").write_bytes(data.draw(damaged(b"#version: 0.2\nw 1\n")))
    arena.attempt("tokenizer", lambda: encode(copy))


OPTIONS = sorted({
    key
    for kind in ("bert", "bloom", "deberta-v2", "esm", "falcon", "gemma3_text", "gpt_oss",
                 "granite", "longformer", "mixtral", "mpt", "olmo2", "phi", "stablelm",
                 "xlnet", "olmoe")
    for key in CONFIG_MAPPING[kind].__dataclass_fields__
})  # fmt: skip
OPTION_VALUES = st.sampled_from(
    [None, True, False, 0, 1, 2, -1, 0.5, 1.0, 30.0, "", "x", "absolute", [], [1], {}, {"a": 1}]
)


@trials(2)
@given(data=st.data())
def test_options_of_other_architectures(
    arena: Arena, folders: dict[str, Path], data: st.DataObject
) -> None:
    folder = folders[data.draw(st.sampled_from(KINDS))]
    valid = json.loads((folder / "config.json").read_text())
    keys = data.draw(st.dictionaries(st.sampled_from(OPTIONS), OPTION_VALUES, max_size=3))
    copy = spoilt(arena, folder, "config.json", json.dumps({**valid, **keys}).encode())
    arena.attempt("backbone config", lambda: first(copy))


@trials(1)
@given(data=st.data())
def test_tokens_that_were_added(
    arena: Arena, folders: dict[str, Path], data: st.DataObject
) -> None:
    """Whatever becomes of them, no id reaches an embedding that has no row for it."""
    folder = folders[data.draw(st.sampled_from(KINDS))]
    whole = json.loads((folder / "tokenizer.json").read_text())
    for word in data.draw(st.lists(st.sampled_from([*WORDS, "[PAD]", "</s>", "<pad>"]))):
        number = data.draw(st.sampled_from([0, 1, 104, 105, 119, 120, 121, 10**6, 2**31]))
        if data.draw(st.booleans()):
            whole["model"]["vocab"][word] = number
        else:
            token = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
            special = data.draw(st.booleans())
            whole["added_tokens"].append(
                {"id": number, "content": word, "special": special, **token}
            )
    copy = spoilt(arena, folder, "tokenizer.json", json.dumps(whole).encode())

    def encoded() -> None:
        setup = open_setup(recipe(copy))
        examples = setup.split("validation").examples
        assert setup.padding.token < 120
        assert all(0 <= one < 120 for example in examples for one in example.inputs["input_ids"])

    arena.attempt("tokenizer", encoded)


@trials(0.3)
@given(data=st.data())
def test_names_of_inputs(arena: Arena, folders: dict[str, Path], data: st.DataObject) -> None:
    folder = folders[data.draw(st.sampled_from(KINDS))]
    names = st.sampled_from(["input_ids", "token_type_ids", "attention_mask", "length", "bbox",
                             "position_ids", "special_tokens_mask", "x", ""])  # fmt: skip
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["model_input_names"] = data.draw(st.lists(names) | st.none() | st.text(max_size=3))
    copy = spoilt(arena, folder, "tokenizer_config.json", json.dumps(settings).encode())
    arena.attempt("tokenizer", lambda: encode(copy))


@trials(0.3)
@given(data=st.data())
def test_names_of_backbones(arena: Arena, data: st.DataObject) -> None:
    name = data.draw(file_names(str(arena.canary)).filter(lambda text: text != "demo"))
    arena.attempt("backbone name", lambda: open_backbone(name))


@pytest.mark.parametrize("kind", KINDS)
def test_the_folders_themselves_are_accepted(
    arena: Arena, folders: dict[str, Path], kind: str
) -> None:
    for action in (inspect, encode, first):
        assert arena.attempt("control", lambda action=action: action(folders[kind])) is None
