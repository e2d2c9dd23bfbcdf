"""Tokenizers and task settings for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Words
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast

from ptv2_scale.config import TASKS, TaskSection
from ptv2_scale.tasks.base import Task
from ptv2_scale.tasks.registry import build_task


@pytest.fixture(scope="session")
def words() -> PreTrainedTokenizerFast:
    """Words w0 to w99 have the ids 100 to 199; others are 1; [CLS] 2 and [SEP] 3 as BERT has."""
    ids = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, **{f"w{n}": 100 + n for n in range(100)}}
    model = Words(WordLevel(ids, unk_token="[UNK]"))
    model.pre_tokenizer = WhitespaceSplit()
    model.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=model, pad_token="[PAD]", unk_token="[UNK]", model_input_names=names
    )


@pytest.fixture(scope="session")
def t5_tokenizer(material: Path) -> PreTrainedTokenizerFast:
    """T5's own."""
    return AutoTokenizer.from_pretrained(material / "data/tokenizers/t5_fast")


@pytest.fixture(scope="session")
def bert_tokenizer(material: Path) -> BertTokenizer:
    """BERT's own, uncased."""
    vocabulary = material / "data/tokenizers/glm/bert-base-uncased-vocab.txt"
    return BertTokenizer(vocab=str(vocabulary), do_lower_case=True)


@pytest.fixture
def task_of() -> Callable[..., Task]:
    """Builds a task from the keys of a recipe."""

    def build(**keys: object) -> Task:
        model = TASKS.model_of(keys)
        assert model is not None
        section = model.model_validate(keys)
        assert isinstance(section, TaskSection)
        return build_task(section)

    return build
