"""Logits of words against transformers' own heads over the vocabulary, on the same folders."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import (
    BIDIRECTIONAL,
    MODEL_TYPES,
    batch_of,
    load_language_model,
    save_backbone,
    save_language_model,
)
from torch import Tensor

from ptv2_scale.backbones.load import (
    BackboneFiles,
    Unsharded,
    load_backbone,
    materialise,
    open_backbone,
)
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.backbones.vocabulary_head import TensorRows, WordLogits, word_tensors
from ptv2_scale.runtime.errors import UserError

WORDLESS = ("electra", "deberta", "deberta-v2", "modernbert")
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((kind, {}) for kind in MODEL_TYPES if kind not in WORDLESS),
    ("gemma2", {"final_logit_softcapping": 2.0}),
    ("gemma3_text", {"final_logit_softcapping": 2.0}),
    ("t5", {"tie_word_embeddings": False}),  # v1.1: nothing is scaled
    ("llama", {"tie_word_embeddings": True}),
    ("gpt2", {"tie_word_embeddings": False}),
    ("opt", {"word_embed_proj_dim": 16}),  # OPT-350M's kind
    ("bert", {"hidden_act": "relu"}),
]


def words_of(folder: Path, tokens: list[int]) -> tuple[BackboneFiles, Any, WordLogits]:
    files, backbone = open_backbone(str(folder)), load_backbone(str(folder))
    with torch.device("meta"):
        words = WordLogits(files.family, files.config, len(tokens))
    tensors = word_tensors(files, backbone, tokens)
    assert {name: tensors.shape(name) for name in tensors.names()} == {
        name: tuple(value.shape) for name, value in words.state_dict().items()
    }

    def fill(names: Any, start: int, target: Tensor) -> None:
        target.copy_(tensors.read(names[0], start, start + target.numel()))

    materialise(words, fill, Unsharded())
    return files, backbone, words


def inputs_of(files: BackboneFiles) -> dict[str, Tensor]:
    batch = batch_of("none")
    if not files.family.encoder_decoder:
        return batch
    return {**batch, "decoder_input_ids": batch["input_ids"][:, :4]}


@pytest.mark.parametrize(("kind", "changes"), VARIANTS, ids=str)
def test_logits_of_words_are_those_of_transformers(
    kind: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    save_language_model(kind, tmp_path, **changes)
    tokens = [*range(119, 4, -7), 8, 8]
    files, backbone, words = words_of(tmp_path, tokens)
    assert not any(parameter.requires_grad for parameter in words.parameters())
    inputs = inputs_of(files)
    with torch.no_grad():
        expected = load_language_model(tmp_path)(**inputs).logits[..., tokens]
        found = words(backbone(**inputs).last_hidden_state)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5)


def test_a_projection_of_its_own_that_the_configuration_calls_tied(tmp_path: Path) -> None:
    """Transformers does not tie where both are there with other values; nor do we."""
    save_language_model("llama", tmp_path, tie_word_embeddings=True)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].flip(0).contiguous()
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    files, backbone, words = words_of(tmp_path, [5, 77])
    with torch.no_grad():
        expected = load_language_model(tmp_path)(**inputs_of(files)).logits[..., [5, 77]]
        found = words(backbone(**inputs_of(files)).last_hidden_state)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("kind", ["bert", "roberta", "llama", "gpt_neox"])
def test_a_bare_backbone_has_no_words(kind: str, tmp_path: Path) -> None:
    changes = {} if kind in BIDIRECTIONAL else {"tie_word_embeddings": False}
    save_backbone(kind, tmp_path, **changes)
    missing = {
        "bert": "cls.predictions.transform.dense.weight",
        "roberta": "lm_head.bias or lm_head.decoder.bias",
        "llama": "lm_head.weight is missing",
        "gpt_neox": "lm_head.weight or embed_out.weight",
    }
    with pytest.raises(UserError, match="no head over the vocabulary") as caught:
        words_of(tmp_path, [5])
    assert missing[kind] in str(caught.value)


@pytest.mark.parametrize("kind", WORDLESS)
def test_families_without_words_say_why(kind: str, tmp_path: Path) -> None:
    save_language_model(kind, tmp_path)
    with pytest.raises(UserError, match=r"^\w+ has no head over the vocabulary here: [^.]+\.$"):
        words_of(tmp_path, [5])


def test_a_head_of_another_model(tmp_path: Path) -> None:
    save_language_model("llama", tmp_path / "right")
    shutil.copytree(tmp_path / "right", tmp_path / "wrong")
    tensors = load_file(tmp_path / "wrong" / "model.safetensors")
    tensors["lm_head.weight"] = torch.zeros(99, 32)
    save_file(tensors, tmp_path / "wrong" / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"lm_head.weight has shape \[99, 32\], but .* \[120, 32\]"):
        words_of(tmp_path / "wrong", [5])


def test_rows_are_read_in_any_ranges() -> None:
    whole = torch.arange(60.0).view(10, 6)
    rows = TensorRows(NamedTensors({"table": whole}), "table", [9, 0, 4, 4])
    expected = whole[[9, 0, 4, 4]].flatten()
    assert rows.shape("table") == (4, 6)
    for start in range(25):
        for stop in range(start, 25):
            assert torch.equal(rows.read("table", start, stop), expected[start:stop])
