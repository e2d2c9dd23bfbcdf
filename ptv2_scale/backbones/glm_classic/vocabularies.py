"""The published vocabularies of classic GLM: files, special tokens, and whose tokenizer each is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers import models
from transformers import BertTokenizer, GPT2Tokenizer, RobertaTokenizer

START, END = "<|startofpiece|>", "<|endofpiece|>"
TEXT_END = "<|endoftext|>"
SHORT, SENTENCE, LONG = "[MASK]", "[sMASK]", "[gMASK]"


@dataclass(frozen=True)
class Variant:
    """One of the published tokenizers.

    Attributes:
        files: names of its vocabulary files.
        added: special tokens behind the vocabulary, in the order of their ids.
        names: transformers' name of a special token -> the token.
        backend: makes the tokenizer without GLM's own tokens; None: the sentencepiece model.
        eos_ends: a text ends with the token `eos`; else the backend's own ending is kept.
    """

    files: tuple[str, ...]
    added: tuple[str, ...]
    names: Mapping[str, str]
    backend: Callable[[list[str], Mapping[str, Any]], Backend] | None
    eos_ends: bool = True


def _gpt2(files: list[str], settings: Mapping[str, Any]) -> Backend:
    vocabulary, merges = models.BPE.read_file(*files)
    made: Backend = GPT2Tokenizer(vocab=vocabulary, merges=merges).backend_tokenizer
    return made


def _roberta(files: list[str], settings: Mapping[str, Any]) -> Backend:
    vocabulary, merges = models.BPE.read_file(*files)
    made: Backend = RobertaTokenizer(vocab=vocabulary, merges=merges).backend_tokenizer
    return made


def _bert(files: list[str], settings: Mapping[str, Any]) -> Backend:
    lower = bool(settings.get("do_lower_case", True))
    vocabulary = models.WordPiece.read_file(*files)
    made: Backend = BertTokenizer(vocab=vocabulary, do_lower_case=lower).backend_tokenizer
    return made


BPE_FILES = ("vocab.json", "merges.txt")
_BERT_NAMES = {"cls": "[CLS]", "sep": "[SEP]", "mask": SHORT, "unk": "[UNK]"}
_GLM_NAMES = {**_BERT_NAMES, "eos": TEXT_END, "pad": TEXT_END}
_ROBERTA_NAMES = {
    "cls": "<s>", "sep": "</s>", "mask": "<mask>", "unk": "<unk>", "eos": "</s>", "pad": "<pad>",
}  # fmt: skip
VARIANTS: Mapping[str, Variant] = {
    "GLMGPT2Tokenizer": Variant(
        BPE_FILES,
        (START, END, "[CLS]", SHORT, "[SEP]", "[UNK]", LONG, SENTENCE),
        _GLM_NAMES,
        _gpt2,
    ),
    "GLMRobertaTokenizer": Variant(
        BPE_FILES, (START, END), _ROBERTA_NAMES, _roberta, eos_ends=False
    ),
    "GLMBertTokenizer": Variant(
        ("vocab.txt",), (START, END), {**_BERT_NAMES, "pad": "[PAD]"}, _bert, eos_ends=False
    ),
    "GLMChineseTokenizer": Variant(
        ("cog-pretrain.model",),
        (TEXT_END, "[SEP]", "[CLS]", SHORT, "[UNUSED1]", "[UNUSED2]", START, END, SENTENCE, LONG),
        # Unknown characters are the sentencepiece model's own <unk>.
        {**_GLM_NAMES, "unk": "<unk>"},
        None,
    ),
}
