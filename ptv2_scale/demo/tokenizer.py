"""Word-level tokenizers of the demo's language: one token a word, and the special tokens beside."""

from __future__ import annotations

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from ptv2_scale.demo.language import vocabulary

PAD, BOS, EOS, UNK = "<pad>", "<s>", "</s>", "<unk>"
SENTINELS: tuple[str, ...] = tuple(f"<extra_id_{number}>" for number in range(10))


def build_sentinel_tokenizer() -> PreTrainedTokenizerFast:
    """As T5 has it: sentinels for hidden spans, and an end behind every text."""
    return _word_level(
        [PAD, EOS, UNK, *SENTINELS],
        ([f"$A {EOS}", f"$A {EOS} $B {EOS}"], EOS),
        additional_special_tokens=list(SENTINELS),
    )


def build_causal_tokenizer() -> PreTrainedTokenizerFast:
    """As Llama has it: a start before every text, and no end, for a text may go on."""
    return _word_level([PAD, EOS, UNK, BOS], ([f"{BOS} $A", f"{BOS} $A $B"], BOS), bos_token=BOS)


def _word_level(
    special: list[str], templates: tuple[list[str], str], **options: object
) -> PreTrainedTokenizerFast:
    """A tokenizer with special tokens first, and templates of one text and two with a token."""
    ids = {token: number for number, token in enumerate([*special, *vocabulary()])}
    (single, pair), token = templates
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNK))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(token, ids[token])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        model_max_length=512,
        **options,
    )
