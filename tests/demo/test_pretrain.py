"""The tiny models that the repository pre-trains: what they learn from, and that it is learned."""

from __future__ import annotations

import csv
from pathlib import Path
from random import Random

import points
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ptv2_scale import demo
from ptv2_scale.backbones.naming import named_folder
from ptv2_scale.demo.language import VERDICTS, write_document
from ptv2_scale.demo.objectives import NextToken, SpanCorruption, corrupt, verdict_accuracy
from ptv2_scale.demo.pretrain import MODELS, ensure_pretrained, main, pretrain
from ptv2_scale.demo.tokenizer import EOS, build_causal_tokenizer, build_sentinel_tokenizer


def restored(source: list[str], target: list[str]) -> list[str]:
    """A document, from what an encoder reads and what the decoder is to write."""
    spans: dict[str, list[str]] = {}
    for word in target[:-1]:
        if word.startswith("<extra_id_"):
            spans[word] = found = []
        else:
            found.append(word)
    return [part for word in source[:-1] for part in spans.get(word, [word])]


@pytest.mark.parametrize("name", ["demo", "t5-cloze"])
def test_a_decoder_is_to_write_what_is_hidden(name: str) -> None:
    rng, objective = Random(5), MODELS[name].objective
    assert isinstance(objective, SpanCorruption)
    single = 0
    for _ in range(200):
        document = write_document(rng)
        spans = objective.choose_spans(rng, document)
        source, target = corrupt(document.words, spans)
        assert restored(source, target) == list(document.words)
        assert source[-1] == target[-1] == EOS
        hidden = [document.words[start:stop] for start, stop in spans]
        single += any(len(words) == 1 and words[0] in VERDICTS.values() for words in hidden)
    assert (single > 60) == (name == "t5-cloze")


def test_a_causal_model_is_to_say_every_word_and_the_end() -> None:
    tokenizer = build_causal_tokenizer()
    batch = NextToken().batch(Random(5), tokenizer.get_vocab(), 4, 8)
    logits = torch.zeros(*batch.labels.shape, len(tokenizer))
    said, labels = NextToken().aligned(logits, batch.labels)
    assert said.shape[:2] == labels.shape
    source = Random(5)
    for ids, row in zip(batch.input_ids, labels, strict=True):
        text = " ".join(write_document(source, 4).words)
        assert ids[ids != tokenizer.pad_token_id][:-1].tolist() == tokenizer(text)["input_ids"]
        assert row[row >= 0].tolist() == [*tokenizer(text)["input_ids"][1:], tokenizer.eos_token_id]


def test_accuracy_counts_verdict_words_alone() -> None:
    ids = build_sentinel_tokenizer().get_vocab()
    good, poor, food = ids["good"], ids["poor"], ids["food"]
    labels = torch.tensor([[food, good, -100], [food, poor, good]])
    logits = torch.nn.functional.one_hot(torch.tensor([[0, good, 0], [0, good, good]])).float()
    assert verdict_accuracy(SpanCorruption(), logits, labels, ids) == pytest.approx(2 / 3)


@pytest.mark.parametrize("name", ["demo", "demo-12k"])
def test_a_shipped_backbone_is_what_the_script_makes(name: str, tmp_path: Path) -> None:
    """Its first steps: their loss is the shipped curve's."""
    main([str(tmp_path), "--model", name, "--steps", "20"])
    shipped, made = (
        next(csv.DictReader((folder / "loss_curve.csv").read_text().splitlines()))
        for folder in (demo.BACKBONES[name], tmp_path)
    )
    assert shipped["step"] == made["step"] == "20"
    assert float(made["loss"]) == pytest.approx(float(shipped["loss"]), abs=2e-4)


def test_sizes_of_the_ladder_are_what_their_names_say() -> None:
    counts, size = [], 0
    for name in demo.LADDER:
        folder = named_folder(name)
        assert folder is not None
        counts.append(AutoModelForCausalLM.from_pretrained(folder).num_parameters())
        assert counts[-1] == pytest.approx(int(name[5:-1]) * 1000, rel=0.03)
        assert f"--model {name}" in (folder / "README.md").read_text()
        size += sum(path.stat().st_size for path in folder.iterdir())
    assert counts[-1] > 30 * counts[0]
    assert size < 8e6


def test_a_causal_model_is_made_once(tmp_path: Path) -> None:
    pretrain(tmp_path, "llama", steps=2)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer("the room was clean")["input_ids"][0] == model.config.bos_token_id
    assert "--model llama" in (tmp_path / "README.md").read_text()
    before = (tmp_path / "model.safetensors").stat().st_mtime_ns
    assert ensure_pretrained(tmp_path, "llama") == tmp_path
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.skipif(not points.EVERYTHING, reason="minutes: PTV2_SCALE_EVERYTHING=1")
@pytest.mark.parametrize(("name", "least"), [("t5-cloze", 0.85), ("llama", 0.97)])
def test_verdicts_are_learned(name: str, least: float, tmp_path: Path) -> None:
    assert pretrain(tmp_path, name) > least
