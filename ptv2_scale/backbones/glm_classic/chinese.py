"""The Chinese GLM's tokenizer: a sentencepiece model with GLM's ends around a text."""

from __future__ import annotations

from sentencepiece import SentencePieceProcessor
from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

from ptv2_scale.runtime.errors import UserError


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
