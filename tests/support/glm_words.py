"""A classic GLM's tokenizer of whole words, small enough for tiny random backbones."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

SPECIAL = (
    "[PAD]", "[CLS]", "[SEP]", "[EOS]", "[MASK]", "[sMASK]", "[gMASK]",
    "<|startofpiece|>", "<|endofpiece|>", "[UNK]",
)  # fmt: skip
PAD, CLS, SEP, EOS, MASK, S_MASK, G_MASK, START, END, UNK = range(10)
WORDS = tuple(f"w{number}" for number in range(40))  # w0 has id 10
VOCABULARY = len(SPECIAL) + len(WORDS)


def words_tokenizer(padding_side: str = "right") -> Any:
    """[CLS] text [EOS] and [CLS] A [SEP] B [EOS]; what is too long loses its beginning."""
    vocabulary = {token: number for number, token in enumerate((*SPECIAL, *WORDS))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [EOS]",
        pair="[CLS] $A [SEP] $B [EOS]",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]", "[EOS]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        eos_token="[EOS]", mask_token="[MASK]", unk_token="[UNK]",
        extra_special_tokens=["[sMASK]", "[gMASK]", "<|startofpiece|>", "<|endofpiece|>"],
        padding_side=padding_side, truncation_side="left",
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
