"""The published patterns and words, in the published vocabularies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import BertTokenizer

from ptv2_scale.backbones.families import BERT, GLM_CLASSIC, GPT2, ROBERTA, T5
from ptv2_scale.backbones.family import Family
from ptv2_scale.backbones.glm_classic.tokenizer import glm_tokenizer
from ptv2_scale.backbones.load import BackboneFiles
from ptv2_scale.backbones.presets import NoWeights
from ptv2_scale.config import Classification
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.benchmarks.spec import ClassificationSpec
from ptv2_scale.tasks.catalogue import BENCHMARKS
from ptv2_scale.tasks.cloze import Cloze
from ptv2_scale.tasks.kinds.classification import ClassificationTask, build

SPECS = [one for one in BENCHMARKS.values() if isinstance(one, ClassificationSpec)]
ROW = {"premise": "It rains.", "hypothesis": "It is wet", "label": "entailment"}


def cloze_of(name: str, family: Family, **keys: Any) -> Cloze:
    section = {"name": name, "path": "nowhere", "head": "verbalizer", **keys}
    task = build(Classification.model_validate(section)).on(
        BackboneFiles(Path(), None, family, NoWeights())
    )
    assert isinstance(task, ClassificationTask)
    assert task.cloze is not None
    return task.cloze


@pytest.mark.parametrize("spec", [one for one in SPECS if one.pattern], ids=lambda one: one.name)
def test_every_word_is_a_token_of_its_own(
    spec: ClassificationSpec, bert_tokenizer: BertTokenizer
) -> None:
    cloze = cloze_of(spec.name, BERT)
    ids = cloze.token_ids(bert_tokenizer)
    assert bert_tokenizer.convert_ids_to_tokens(ids) == [word.lower() for word in spec.words]
    assert len(spec.words) == len(spec.labels)
    assert not cloze_of(spec.name, GPT2).pattern.columns_behind


def test_a_benchmark_without_a_published_pattern() -> None:
    with pytest.raises(UserError, match="none was published for superglue/wsc"):
        cloze_of("superglue/wsc", BERT)


def test_words_are_spelled_as_they_stand(material: Path, tmp_path: Path, t5_tokenizer: Any) -> None:
    for name in ("vocab.json", "merges.txt"):
        source = material / "data" / "tokenizers" / "glm" / f"gpt2-{name}"
        (tmp_path / name).write_bytes(source.read_bytes())
    glm = glm_tokenizer(tmp_path, "GLMGPT2Tokenizer")
    spaced = cloze_of("superglue/rte", GLM_CLASSIC)
    assert glm.convert_ids_to_tokens(spaced.token_ids(glm)) == ["Ġtrue", "Ġfalse"]
    close = cloze_of("superglue/rte", GLM_CLASSIC, pattern="{premise} {hypothesis} ({mask})")
    assert glm.convert_ids_to_tokens(close.token_ids(glm)) == ["true", "false"]
    t5 = cloze_of("superglue/boolq", T5).token_ids(t5_tokenizer)
    assert t5_tokenizer.convert_ids_to_tokens(t5) == ["▁No", "▁Yes"]


def test_the_piece_of_a_classic_glm(material: Path, tmp_path: Path) -> None:
    for name in ("vocab.json", "merges.txt"):
        source = material / "data" / "tokenizers" / "glm" / f"gpt2-{name}"
        (tmp_path / name).write_bytes(source.read_bytes())
    glm = glm_tokenizer(tmp_path, "GLMGPT2Tokenizer")
    (found,), cut = cloze_of("superglue/rte", GLM_CLASSIC).encode([ROW], glm, 64)
    asked = "It rains. question: It is wet True or False? answer: [MASK]"
    assert cut == 0
    assert found["input_ids"] == [
        *glm(asked)["input_ids"],
        glm.convert_tokens_to_ids("<|startofpiece|>"),
    ]
    assert found["read_at"] == [found["input_ids"].index(glm.mask_token_id)]


def test_a_column_behind_the_blank() -> None:
    pattern = "{premise}? {mask}, {hypothesis}"
    assert cloze_of("superglue/rte", ROBERTA, pattern=pattern)
    with pytest.raises(UserError, match=r"\{hypothesis\} stands behind the blank, and GPT-2"):
        cloze_of("superglue/rte", GPT2, pattern=pattern)
