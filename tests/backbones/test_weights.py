"""Which weight files of a folder are read, against transformers; and files that are none."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import save_backbone, save_tokenizer, write_recipe
from torch import Tensor
from transformers import AutoModel

from ptv2_scale import load_prompted
from ptv2_scale.backbones.convert import Conversion, convert
from ptv2_scale.backbones.load import load_backbone
from ptv2_scale.backbones.tensor_files import read_tensors
from ptv2_scale.backbones.tokenizers import load_tokenizer
from ptv2_scale.cli import main
from ptv2_scale.data.sources import read_rows
from ptv2_scale.runtime.errors import UserError

POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_backbone("bert", tmp_path / "backbone")


def write_set(folder: Path, name: str, tensors: Mapping[str, Tensor]) -> None:
    """One set of weights: a file of that name, or an index with two shards."""

    def write(path: Path, part: Mapping[str, Tensor]) -> None:
        save_file(dict(part), path) if path.suffix == ".safetensors" else torch.save(part, path)

    if not name.endswith(".index.json"):
        write(folder / name, tensors)
        return
    stem, suffix = name.removesuffix(".index.json").split(".")
    table, names = {}, sorted(tensors)
    for number in (0, 1):
        shard = f"{stem}-{number + 1:05d}-of-00002.{suffix}"
        part = {key: tensors[key] for key in names[number::2]}
        write(folder / shard, part)
        table.update(dict.fromkeys(part, shard))
    (folder / name).write_text(json.dumps({"metadata": {}, "weight_map": table}))


SETS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


@pytest.mark.parametrize(
    ("first", "second"), [(a, b) for place, a in enumerate(SETS) for b in SETS[place + 1 :]]
)
def test_of_two_sets_transformers_choice_is_read_and_said(
    folder: Path, first: str, second: str, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    write_set(folder, first, tensors)
    write_set(folder, second, {name: value + 1 for name, value in tensors.items()})
    expected = AutoModel.from_pretrained(folder).state_dict()
    with caplog.at_level(logging.WARNING):
        found = load_backbone(str(folder)).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert f"several sets of weights; {first} is read, as transformers does" in caplog.text
    assert f"and not {second}" in caplog.text


def test_an_index_of_the_whole_file_is_no_second_set(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = load_file(folder / "model.safetensors")
    index = {"weight_map": dict.fromkeys(names, "model.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    load_backbone(str(folder))
    assert "several sets" not in caplog.text


def test_a_tensor_that_is_in_two_shards_is_refused(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    write_set(folder, "model.safetensors.index.json", tensors)
    shard = folder / "model-00002-of-00002.safetensors"
    name = "embeddings.LayerNorm.bias"
    save_file({**load_file(shard), name: torch.ones(32)}, shard)
    with pytest.raises(UserError, match=f"{name}, which stands in these files a second time"):
        load_backbone(str(folder))


def test_an_old_and_a_new_name_of_one_tensor_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    save_file({**load_file(path), "embeddings.LayerNorm.gamma": torch.ones(32)}, path)
    with pytest.raises(UserError, match=r"embeddings\.LayerNorm\.weight, which stands"):
        load_backbone(str(folder))


def test_an_adapter_in_the_folder_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(UserError, match=r"adapter_config\.json: an adapter lies beside"):
        load_backbone(str(folder))


def test_a_gguf_file_alone_is_named(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-Q4_K_M.gguf")
    with pytest.raises(UserError, match="A .gguf file is there, which is quantised"):
        load_backbone(str(folder))


@pytest.mark.parametrize("name", [*SETS, "model-00002-of-00002.safetensors", "config.json"])
def test_a_pointer_in_place_of_a_backbones_file(folder: Path, name: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    write_set(folder, name if name in SETS else SETS[1], tensors)
    (folder / name).write_text(POINTER)
    with pytest.raises(UserError) as caught:
        load_backbone(str(folder))
    assert str(caught.value).startswith(f"{folder / name}: a Git LFS pointer")
    assert "git lfs pull" in str(caught.value)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_pointer_in_place_of_a_fast_tokenizers_file(folder: Path, name: str) -> None:
    save_tokenizer(folder)
    (folder / name).write_text(POINTER)
    with pytest.raises(UserError, match="a Git LFS pointer"):
        load_tokenizer(folder, False)


@pytest.mark.parametrize(
    "name", ["spiece.model", "vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model"]
)
def test_a_pointer_in_place_of_a_vocabulary(folder: Path, name: str) -> None:
    """BERT would take a pointer for a vocabulary of three words."""
    (folder / name).write_text(POINTER)
    with pytest.raises(UserError, match=f"{name}: a Git LFS pointer"):
        load_tokenizer(folder, False)


def test_a_pointer_that_nobody_reads_may_stay(folder: Path) -> None:
    save_tokenizer(folder)
    for name in ("spiece.model", "tf_model.h5", "flax_model.msgpack"):
        (folder / name).write_text(POINTER)
    load_tokenizer(folder, False)
    load_backbone(str(folder))


@pytest.mark.parametrize("name", ["prompt.safetensors", "adapter_model.bin"])
def test_a_pointer_in_place_of_a_saved_prefix(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(POINTER)
    with pytest.raises(UserError, match=f"{name}: a Git LFS pointer"):
        read_tensors(tmp_path / name)


def test_a_pointer_in_an_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(Path(__file__).parents[1] / "fixtures" / "run-0.1.0", tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    for name in ("prompt.safetensors", "card.json"):
        (tmp_path / "old" / "export" / name).write_text(POINTER)
        with pytest.raises(UserError, match=f"{name}: a Git LFS pointer"):
            load_prompted("export", backbone="backbone")


def test_a_pointer_in_what_is_converted(folder: Path, tmp_path: Path) -> None:
    for name in ("model.safetensors", "config.json"):
        (folder / name).write_text(POINTER)
        assert main(["convert", str(folder), str(tmp_path / "out")]) == 2
        with pytest.raises(UserError, match=f"{name}: a Git LFS pointer"):
            convert(Conversion(folder), tmp_path / "out")


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "parquet"])
def test_a_pointer_in_place_of_data(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"train.{suffix}"
    path.write_text(POINTER)
    with pytest.raises(UserError, match="a Git LFS pointer"):
        read_rows(path)


@pytest.mark.parametrize(
    "name", ["backbone/model.safetensors", "backbone/tokenizer.json", "data/train.jsonl"]
)
def test_the_command_line_names_a_pointer(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path, "bert")
    (tmp_path / name).write_text(POINTER)
    assert main(["train", str(recipe)]) == 2
    assert f"{tmp_path / name}: a Git LFS pointer" in capsys.readouterr().err
