"""The published vocabularies of classic GLM: files, special tokens, and whose tokenizer each is.

The Chinese one has a tokenizer class of its own here, a sentencepiece model with GLM's ends around
a text; the others are transformers' own. `PieceTokens` has what filling blanks needs of any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer as Backend
from tokenizers import models
from transformers import BertTokenizer, GPT2Tokenizer, RobertaTokenizer
from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

from ptv2_scale.runtime.errors import UserError

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


class GLMChineseTokenizer(SentencePieceBackend):  # type: ignore[misc]
    """The sentencepiece model itself, so that its normalisation is exactly its own."""

    vocab_files_names = {"vocab_file": "cog-pretrain.model"}

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """[CLS] text <|endoftext|>, or [CLS] A [SEP] B <|endoftext|>."""
        between = [] if self.sep_token_id is None else [self.sep_token_id]
        second = [] if token_ids_1 is None else [*between, *token_ids_1]
        return [self.cls_token_id, *token_ids_0, *second, self.eos_token_id]


def pieces_of(file: str) -> list[str]:
    """The pieces of a sentencepiece model, in the order of their ids.

    Raises:
        UserError: it cannot be read.
    """
    try:
        model = SentencePieceProcessor(model_file=file)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{file}: not a readable sentencepiece model ({error}).") from None
    return [model.id_to_piece(place) for place in range(len(model))]


@dataclass(frozen=True)
class PieceTokens:
    """Ids of the tokens that filling blanks needs.

    Attributes:
        start: <|startofpiece|>, which begins a piece.
        end: <|endofpiece|>, which ends it.
        masks: id of a mask -> the mask; [sMASK] and [gMASK] are not in every vocabulary.
        pad: what fills a batch.
    """

    start: int
    end: int
    masks: Mapping[int, str]
    pad: int

    @classmethod
    def of(cls, tokenizer: Any) -> PieceTokens:
        """The ids of a classic GLM's tokenizer.

        Raises:
            UserError: it has no such tokens, so it is another model's.
        """
        start, end, *larger = (_id(tokenizer, token) for token in (START, END, SENTENCE, LONG))
        mask = tokenizer.mask_token_id
        if start is None or end is None or mask is None:
            raise UserError(
                f"This tokenizer ({type(tokenizer).__name__}) has no {START}, {END} or mask token:"
                " it is not a classic GLM's."
            )
        masks = {int(mask): str(tokenizer.mask_token)}
        for token, place in zip((SENTENCE, LONG), larger, strict=True):
            if place is not None:
                masks[place] = token
        return cls(start, end, masks, int(tokenizer.pad_token_id or 0))


def _id(tokenizer: Any, token: str) -> int | None:
    found = tokenizer.convert_tokens_to_ids(token)
    # What a vocabulary lacks comes back as its unknown token.
    known = found is not None and tokenizer.convert_ids_to_tokens(found) == token
    return int(found) if known else None
