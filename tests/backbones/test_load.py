"""Backbone folders as they are published, read slice by slice, against transformers itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import MODEL_TYPES, batch_of, config_of, save_backbone
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    GenerationConfig,
    MT5Config,
)

from ptv2_scale.backbones.families import FAMILIES, REFUSED
from ptv2_scale.backbones.load import (
    Unsharded,
    build_empty,
    load_backbone,
    materialise,
    open_backbone,
    weight_filler,
)
from ptv2_scale.backbones.matching import shared_parameters
from ptv2_scale.config import HeadOnly
from ptv2_scale.methods.base import Method
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.heads import LinearHead

CAUSAL_HEADS = (
    *("glm", "glm4", "llama", "qwen2", "qwen3", "gpt2", "opt", "gpt_neox", "phi3", "mistral"),
    *("gemma", "gemma2", "gemma3_text"),
)
NEW_ENCODERS = ("electra", "distilbert", "deberta", "deberta-v2", "modernbert")
CLASSIFIERS = ("bert", "glm", "gpt2", "opt", *NEW_ENCODERS)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A tiny backbone's folder, made once; copy it before changing it."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = save_backbone(kind, tmp_path_factory.mktemp(kind) / kind)
        return made[kind]

    return folder


def state_of(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def everything(model: nn.Module) -> dict[str, Tensor]:
    """Parameters under all their names, and buffers, those that are not saved included."""
    named = dict(model.named_parameters(remove_duplicate=False))
    return {**named, **dict(model.named_buffers(remove_duplicate=False))}


def assert_same_bits(found: nn.Module, expected: Any) -> None:
    ours, theirs = everything(found), everything(expected)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        if name.endswith((".q_bias", ".v_bias")):
            # transformers leaves these two in fp32, and its DeBERTa in bf16 then cannot run.
            value = value.to(expected.dtype)
        assert ours[name].dtype == value.dtype, name
        assert torch.equal(ours[name], value), name


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", MODEL_TYPES)
def test_every_bit_is_transformers_own(kind: str, dtype: Any, saved: Callable[[str], Path]) -> None:
    ours = load_backbone(str(saved(kind)), dtype=dtype)
    wanted = torch.bfloat16 if dtype == "bf16" else torch.float32
    assert_same_bits(ours, AutoModel.from_pretrained(saved(kind), dtype=wanted))
    assert not any(parameter.requires_grad for parameter in ours.parameters())
    assert not any(tensor.is_meta for tensor in everything(ours).values())
    assert not ours.training


def test_a_file_in_bf16_is_widened_exactly(saved: Callable[[str], Path], tmp_path: Path) -> None:
    AutoModel.from_pretrained(saved("llama"), dtype=torch.bfloat16).save_pretrained(tmp_path)
    assert {value.dtype for value in state_of(tmp_path).values()} == {torch.bfloat16}
    reference = AutoModel.from_pretrained(tmp_path, dtype=torch.float32)
    assert_same_bits(load_backbone(str(tmp_path)), reference)


def rewrite(source: Path, folder: Path, form: str, tensors: dict[str, Tensor]) -> Path:
    """A backbone's folder with the same configuration and these tensors in another form."""
    folder.mkdir(exist_ok=True)
    shutil.copy(source / "config.json", folder)
    names = sorted(tensors)
    halves = [names[::2], names[1::2]]
    if form == "safetensors":
        save_file(tensors, folder / "model.safetensors")
    elif form.startswith("bin"):
        new = form == "bin zip"
        torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=new)
    else:
        kind = form.removeprefix("shards ")
        stem = "model" if kind == "safetensors" else "pytorch_model"
        table = {}
        for number, half in enumerate(halves, start=1):
            name = f"{stem}-{number:05d}-of-00002.{kind}"
            table.update(dict.fromkeys(half, name))
            part = {key: tensors[key] for key in half}
            save_file(part, folder / name) if kind == "safetensors" else torch.save(
                part, folder / name
            )
        index = {"metadata": {}, "weight_map": table}
        (folder / f"{stem}.{kind}.index.json").write_text(json.dumps(index))
    return folder


FORMS = ("safetensors", "shards safetensors", "bin zip", "bin old", "shards bin")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["bert", "t5", "llama"])
def test_forms_of_weight_files(
    kind: str, form: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = rewrite(saved(kind), tmp_path, form, state_of(saved(kind)))
    assert_same_bits(load_backbone(str(folder)), AutoModel.from_pretrained(saved(kind)))


def test_shards_as_transformers_writes_them(saved: Callable[[str], Path], tmp_path: Path) -> None:
    reference = AutoModel.from_pretrained(saved("qwen3"))
    reference.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    assert_same_bits(load_backbone(str(tmp_path)), reference)


@pytest.mark.parametrize(
    ("kind", "cls"),
    [
        *((kind, AutoModelForCausalLM) for kind in CAUSAL_HEADS),
        *((kind, AutoModelForSequenceClassification) for kind in CLASSIFIERS),
        *((kind, AutoModelForMaskedLM) for kind in NEW_ENCODERS),
        ("t5", AutoModelForSeq2SeqLM),
        ("mt5", AutoModelForSeq2SeqLM),
    ],
)
def test_names_with_the_base_models_prefix(kind: str, cls: Any, tmp_path: Path) -> None:
    torch.manual_seed(2)
    cls.from_config(config_of(kind)).save_pretrained(tmp_path)
    assert_same_bits(load_backbone(str(tmp_path)), AutoModel.from_pretrained(tmp_path))


@pytest.mark.parametrize("cls", [AutoModelForMaskedLM, AutoModelForSequenceClassification])
@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_an_encoder_saved_without_its_pooler_gets_none(kind: str, cls: Any, tmp_path: Path) -> None:
    cls.from_config(config_of(kind)).save_pretrained(tmp_path)
    found = load_backbone(str(tmp_path))
    has_pooler = kind == "bert" and cls is AutoModelForSequenceClassification
    assert (found.pooler is not None) == has_pooler
    reference = AutoModel.from_pretrained(tmp_path, add_pooling_layer=has_pooler)
    assert_same_bits(found, reference)


def test_names_of_tensorflows_time(saved: Callable[[str], Path], tmp_path: Path) -> None:
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in state_of(saved("bert")).items()
    }
    assert any(name.endswith("gamma") for name in old)
    folder = rewrite(saved("bert"), tmp_path, "bin zip", old)
    assert_same_bits(load_backbone(str(folder)), AutoModel.from_pretrained(saved("bert")))


@pytest.mark.parametrize("kept", ["shared", "encoder.embed_tokens", "decoder.embed_tokens"])
def test_tied_embeddings_under_any_of_their_names(
    kept: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    tensors = state_of(saved("t5"))
    (table,) = [tensors.pop(name) for name in list(tensors) if name == "shared.weight"]
    folder = rewrite(saved("t5"), tmp_path, "safetensors", {**tensors, f"{kept}.weight": table})
    found = load_backbone(str(folder))
    assert torch.equal(found.shared.weight, table)
    assert found.shared.weight is found.encoder.embed_tokens.weight
    assert found.shared.weight is found.decoder.embed_tokens.weight


def test_dropout_is_overridden(saved: Callable[[str], Path]) -> None:
    for kind in MODEL_TYPES:
        batch = batch_of("none")
        if kind in ("t5", "mt5"):
            batch["decoder_input_ids"] = batch["input_ids"]
        with torch.no_grad():
            for dropout, same in ((0.5, False), (0.0, True)):
                model = load_backbone(str(saved(kind)), dropout=dropout).train()
                first, second = (model(**batch).last_hidden_state for _ in range(2))
                assert torch.equal(first, second) == same, (kind, dropout)


class TwoRanks:
    """`Shards` of one of two ranks: the first half, rounded up, or the second."""

    at_once = 3

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.adopted: list[nn.Parameter] = []

    def allocate(self, parameter: nn.Parameter) -> tuple[nn.Parameter, list[tuple[int, Tensor]]]:
        held = nn.Parameter(torch.empty(parameter.shape), requires_grad=False)
        [(start, stop)] = self.ranges(parameter.numel())
        return held, [(start, held.detach().view(-1)[start:stop])]

    def ranges(self, numel: int) -> list[tuple[int, int]]:
        middle = -(-numel // 2)
        return [(0, middle) if self.rank == 0 else (middle, numel)]

    def adopt(self, parameter: nn.Parameter) -> None:
        self.adopted.append(parameter)


@pytest.mark.parametrize("form", ["safetensors", "bin zip"])
@pytest.mark.parametrize("kind", ["t5", "bert", "phi3"])
def test_two_ranks_fill_their_own_halves_and_no_more(
    kind: str, form: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = rewrite(saved(kind), tmp_path, form, state_of(saved(kind)))
    reference = {
        names[0]: parameter.detach().flatten()
        for names, parameter in shared_parameters(AutoModel.from_pretrained(saved(kind)))
    }
    halves: list[dict[str, Tensor]] = []
    for rank in range(2):
        files = open_backbone(str(folder))
        model = build_empty(files, torch.float32)
        inner, shards = weight_filler(files, model), TwoRanks(rank)
        filled: dict[str, tuple[int, int]] = {}

        def fill(
            names: Sequence[str], start: int, target: Tensor, inner: Any = inner, to: Any = filled
        ) -> None:
            assert names[0] not in to
            to[names[0]] = (start, start + target.numel())
            inner(names, start, target)

        materialise(model, fill, shards)
        after = {names[0]: parameter for names, parameter in shared_parameters(model)}
        assert {id(p) for p in shards.adopted} == {id(p) for p in after.values()}
        assert filled == {name: shards.ranges(p.numel())[0] for name, p in after.items()}
        halves.append({name: p.detach().flatten() for name, p in after.items()})
    for name, whole in reference.items():
        middle = -(-whole.numel() // 2)
        union = torch.cat((halves[0][name][:middle], halves[1][name][middle:]))
        assert torch.equal(union, whole), name


def test_any_flat_range_is_read_from_any_row(saved: Callable[[str], Path]) -> None:
    weights = open_backbone(str(saved("bert"))).weights
    name = "encoder.layer.0.intermediate.dense.weight"
    whole = state_of(saved("bert"))[name].flatten()
    for start, stop in ((0, 1), (31, 33), (5, 5), (40, 1536), (32, 64), (1535, 1536)):
        assert torch.equal(weights.read(name, start, stop), whole[start:stop])


def test_what_is_loaded_already_is_left_alone(saved: Callable[[str], Path]) -> None:
    backbone = load_backbone(str(saved("bert")))
    before = {name: id(value) for name, value in backbone.named_parameters()}

    def fill(names: Sequence[str], start: int, target: Tensor) -> None:
        raise AssertionError("nothing is to be filled")

    materialise(backbone, fill, Unsharded())
    assert {name: id(value) for name, value in backbone.named_parameters()} == before


def message_of(action: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        action()
    return str(caught.value)


def test_a_missing_tensor_is_named(saved: Callable[[str], Path], tmp_path: Path) -> None:
    tensors = state_of(saved("llama"))
    del tensors["layers.1.mlp.up_proj.weight"]
    folder = rewrite(saved("llama"), tmp_path, "safetensors", tensors)
    message = message_of(lambda: load_backbone(str(folder)))
    assert "the weights of 1 parameters of this Llama are missing" in message
    assert "layers.1.mlp.up_proj.weight" in message


def test_a_wrong_shape_is_named_with_both_shapes(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    tensors = state_of(saved("llama"))
    tensors["norm.weight"] = torch.ones(31)
    folder = rewrite(saved("llama"), tmp_path, "safetensors", tensors)
    message = message_of(lambda: load_backbone(str(folder)))
    assert "norm.weight has shape [31], but config.json asks for [32]" in message


def test_a_folder_without_weights(saved: Callable[[str], Path], tmp_path: Path) -> None:
    shutil.copy(saved("bert") / "config.json", tmp_path)
    message = message_of(lambda: load_backbone(str(tmp_path)))
    assert "no weights found: looked for model.safetensors and pytorch_model.bin" in message


@pytest.mark.parametrize("form", ["bin zip", "shards bin"])
def test_pickled_files_can_be_refused(
    form: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = rewrite(saved("bert"), tmp_path, form, state_of(saved("bert")))
    message = message_of(lambda: load_backbone(str(folder), weights="safetensors"))
    assert "backbone.weights: safetensors refuses pickled files" in message


def test_safetensors_come_before_pickled_files(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = rewrite(saved("bert"), tmp_path, "safetensors", state_of(saved("bert")))
    (folder / "pytorch_model.bin").write_bytes(b"never opened")
    assert_same_bits(load_backbone(str(folder)), AutoModel.from_pretrained(saved("bert")))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("half", [True, False])
def test_a_broken_file_is_named(
    name: str, half: bool, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    form = "safetensors" if name.startswith("model") else "bin zip"
    path = rewrite(saved("bert"), tmp_path, form, state_of(saved("bert"))) / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if half else b"")
    assert message_of(lambda: load_backbone(str(tmp_path))).startswith(f"{path}: not a readable")


@pytest.mark.parametrize("content", ["[]", '{"weight_map": 3}', "{}"])
def test_a_broken_index_is_named(
    content: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    shutil.copy(saved("bert") / "config.json", tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(content)
    message = message_of(lambda: load_backbone(str(tmp_path)))
    assert "model.safetensors.index.json: not an index of weight shards" in message


def test_a_missing_shard_is_named(saved: Callable[[str], Path], tmp_path: Path) -> None:
    folder = rewrite(saved("bert"), tmp_path, "shards safetensors", state_of(saved("bert")))
    (folder / "model-00002-of-00002.safetensors").unlink()
    message = message_of(lambda: load_backbone(str(folder)))
    assert "shards that are not there: model-00002-of-00002.safetensors" in message


def test_a_shard_is_looked_for_in_its_folder_only(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    outside = tmp_path / "outside.safetensors"
    save_file(state_of(saved("bert")), outside)
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(saved("bert") / "config.json", folder)
    index = {"weight_map": dict.fromkeys(state_of(saved("bert")), str(outside))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "not there" in message_of(lambda: load_backbone(str(folder)))


def test_a_folder_without_a_configuration(tmp_path: Path) -> None:
    assert "no config.json" in message_of(lambda: open_backbone(str(tmp_path)))


@pytest.mark.parametrize("content", ["{", "[]", '{"hidden_size": 3}', '{"model_type": 3}'])
def test_a_configuration_that_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    assert str(tmp_path / "config.json") in message_of(lambda: open_backbone(str(tmp_path)))


@pytest.mark.parametrize("model_type", ["lama", "xlnet"])
def test_an_unknown_architecture_is_told_the_families(model_type: str, tmp_path: Path) -> None:
    """One that transformers does not know either, and one that only we do not know."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    message = message_of(lambda: open_backbone(str(tmp_path)))
    assert f"model_type '{model_type}' belongs to no family." in message
    assert ("Did you mean 'llama'?" in message) == (model_type == "lama")
    for family in FAMILIES:
        assert f"{family.name} ({', '.join(family.model_types)})" in message
    assert "To add one, declare a Family" in message


@pytest.mark.parametrize("model_type", sorted(REFUSED))
def test_refused_architectures_say_why(model_type: str, tmp_path: Path) -> None:
    AutoConfig.for_model(model_type).save_pretrained(tmp_path)
    message = message_of(lambda: open_backbone(str(tmp_path)))
    assert f"model_type '{model_type}' cannot be prompted: {REFUSED[model_type]}." in message


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("gemma3_text", {"attn_logit_softcapping": 30.0}, "attn_logit_softcapping is set"),
        ("gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention is set"),
        ("gemma2", {"sliding_window_size": 8}, "sliding_window_size is 8 and sliding_window is 4"),
        ("gemma", {"hidden_activation": "relu"}, "hidden_activation is 'relu' and hidden_act is"),
        ("modernbert", {"layer_norm_eps": 1e-12}, "layer_norm_eps is 1e-12 and norm_eps is 1e-05"),
        ("deberta", {"talking_head": True}, "talking_head is set"),
        ("electra", {"is_decoder": True}, "is_decoder is set"),
        ("llama", {"v_head_dim": 4}, "keys are 8 wide and values 4"),
        ("bert", {"is_decoder": True}, "is_decoder is set"),
        ("roberta", {"is_decoder": True}, "is_decoder is set"),
        ("gpt2", {"reorder_and_upcast_attn": True}, "reorder_and_upcast_attn"),
    ],
)
def test_refused_settings_say_why(
    kind: str, changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    config_of(kind, **changes).save_pretrained(tmp_path)
    message = message_of(lambda: open_backbone(str(tmp_path)))
    assert "cannot be prompted" in message
    assert reason in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dtype": "fp16"}, "backbone.dtype: found 'fp16' (str), expected"),
        ({"dtype": torch.float32}, "backbone.dtype: found torch.float32 (dtype), expected"),
        ({"dropout": -1}, "backbone.dropout: found -1 (int), expected"),
        ({"dropout": "0.1"}, "backbone.dropout: found '0.1' (str), expected"),
        ({"weights": "safetensor"}, "Did you mean 'safetensors'?"),
        ({"revision": 3}, "backbone.revision: found 3 (int), expected"),
        ({"trust_remote_code": "no"}, "backbone.trust_remote_code: found 'no' (str), expected"),
        ({"name": ""}, "backbone.name: found '' (str), expected"),
        ({"name": None}, "backbone.name: found nothing (null), expected"),
    ],
)
def test_arguments_are_checked_as_recipes_are(arguments: dict[str, Any], words: str) -> None:
    given = {"name": "demo", **arguments}
    assert words in message_of(lambda: load_backbone(**given))


def test_all_that_is_wrong_is_told_at_once() -> None:
    message = message_of(lambda: load_backbone("demo", dtype="fp8", dropout=2))
    assert message.count("backbone.") == 2


def rewrite_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value != "gone"}))


@pytest.mark.parametrize("kind", ["t5", "mt5"])
def test_a_decoder_without_a_start_of_its_own_starts_from_the_pad_token(
    kind: str, tmp_path: Path
) -> None:
    save_backbone(kind, tmp_path, pad_token_id=5)
    rewrite_config(tmp_path, decoder_start_token_id="gone")
    files = open_backbone(str(tmp_path))
    model = load_backbone(str(tmp_path))
    linear = Method(HeadOnly(method="none"), files.family, files.config)
    prompted = PromptedModel(model, files.family, LinearHead(32, 2, "first"), linear).eval()
    # mT5's configuration has a default of its own, T5's none.
    start = torch.full((3, 1), 5 if kind == "t5" else MT5Config().decoder_start_token_id)
    with torch.no_grad():
        ours = prompted(**batch_of()).features
        theirs = AutoModel.from_pretrained(tmp_path)(**batch_of(), decoder_input_ids=start)
    torch.testing.assert_close(ours, theirs.last_hidden_state[:, 0], rtol=1e-4, atol=1e-4)


def test_the_start_of_a_decoder_in_generation_config(tmp_path: Path) -> None:
    save_backbone("t5", tmp_path)
    rewrite_config(tmp_path, decoder_start_token_id="gone")
    (tmp_path / "generation_config.json").write_text('{"decoder_start_token_id": 7}')
    files = open_backbone(str(tmp_path))
    assert files.family.decoder_start(files.config) == 7
    assert GenerationConfig.from_pretrained(tmp_path).decoder_start_token_id == 7


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("t5", {"decoder_start_token_id": "gone", "pad_token_id": None},
         "neither decoder_start_token_id nor pad_token_id"),
        ("t5", {"decoder_start_token_id": -1}, "starts from token -1"),
        ("roberta", {"pad_token_id": None}, "no pad_token_id, from which its positions"),
    ],
)  # fmt: skip
def test_keys_that_a_family_needs_are_named(
    kind: str, changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    rewrite_config(save_backbone(kind, tmp_path), **changes)
    assert reason in message_of(lambda: open_backbone(str(tmp_path)))


def test_a_folder_that_is_not_there() -> None:
    assert "no folder './nowhere'" in message_of(lambda: open_backbone("./nowhere"))


def test_a_hub_name_that_cannot_be_had_says_what_to_do() -> None:
    message = message_of(lambda: open_backbone("nobody/has-this"))
    assert "'nobody/has-this' is no folder" in message
    assert "give the path of a folder" in message
