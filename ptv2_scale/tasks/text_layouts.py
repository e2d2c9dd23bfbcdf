"""Where prompt and answer of a text task stand in what an architecture reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ptv2_scale.backbones.family import Family
from ptv2_scale.backbones.glm_classic.vocabularies import PieceTokens
from ptv2_scale.backbones.load import BackboneFiles
from ptv2_scale.data.collate import IGNORED, Example, Padding, pad_inputs, pad_rows
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Tokenizer
from ptv2_scale.tasks.piece_layout import BLOCKS, POSITIONS, BlankAndPiece
from ptv2_scale.tasks.text import Inputs
from ptv2_scale.tasks.text_pairs import Passage, TextSource

DECODER = "decoder_input_ids"


class TextLayout(Protocol):
    """One architecture's way."""

    def answer_end(self, tokenizer: Tokenizer) -> int:
        """The token that ends an answer.

        Raises:
            UserError: the tokenizer has none.
        """

    def asked(self, ids: list[int], tokenizer: Tokenizer, where: str) -> list[int]:
        """A prompt as the tokenizer ends it, made one that an answer stands with.

        Raises:
            UserError: no answer can stand with it; names `where` it is from.
        """

    def prompt(self, ids: list[int], max_length: int) -> Inputs:
        """Inputs of a row that is to be answered."""

    def answered(self, passage: Passage, max_length: int) -> tuple[Inputs, list[int]]:
        """Inputs of a row, and what each place is to say."""

    def unanswered(self, example: Example) -> Example:
        """A row's example without its last answer, to be written anew."""

    def fits(self, passage: Passage, max_length: int) -> bool:
        """Whether nothing of a row is cut."""


@dataclass(frozen=True)
class OneAfterTheOther:
    """A causal model's: the answer stands behind the prompt, and each place says the next token.

    Attributes:
        source: of the prompts: how one goes on, and how it is shortened.
    """

    source: TextSource

    def answer_end(self, tokenizer: Tokenizer) -> int:
        """See `TextLayout`."""
        return _end_of_text(tokenizer)

    def asked(self, ids: list[int], tokenizer: Tokenizer, where: str) -> list[int]:
        """See `TextLayout`."""
        return self.source.goes_on(ids, tokenizer)

    def prompt(self, ids: list[int], max_length: int) -> Inputs:
        """See `TextLayout`."""
        return {"input_ids": self.source.shortened(ids, max_length)}

    def answered(self, passage: Passage, max_length: int) -> tuple[Inputs, list[int]]:
        """See `TextLayout`: an answer that is too long loses its end, but for a half."""
        room = max(max_length // 2, max_length - len(passage.prompt) + 1)
        answer, labels = passage.answer[:room], passage.labels[:room]
        prompt = self.source.shortened(passage.prompt, max_length - len(answer) + 1)
        target = [*[IGNORED] * (len(prompt) - 1), *labels]
        return {"input_ids": [*prompt, *answer[:-1]]}, target

    def unanswered(self, example: Example) -> Example:
        """See `TextLayout`."""
        learned = [label != IGNORED for label in example.target]
        last = len(learned) - 1 - learned[::-1].index(True)
        start = next(place for place in range(last, -1, -1) if not place or not learned[place - 1])
        return Example(example.row, {"input_ids": example.inputs["input_ids"][: start + 1]})

    def fits(self, passage: Passage, max_length: int) -> bool:
        """See `TextLayout`."""
        return len(passage.prompt) + len(passage.answer) - 1 <= max_length


@dataclass(frozen=True)
class EncoderAndDecoder:
    """T5's: the encoder reads the prompt, the decoder writes the answer behind its start.

    Attributes:
        start: the token that a decoder starts with.
    """

    start: int

    def answer_end(self, tokenizer: Tokenizer) -> int:
        """See `TextLayout`."""
        return _end_of_text(tokenizer)

    def asked(self, ids: list[int], tokenizer: Tokenizer, where: str) -> list[int]:
        """See `TextLayout`: as it is."""
        return ids

    def prompt(self, ids: list[int], max_length: int) -> Inputs:
        """See `TextLayout`: the token that ends a text stays."""
        cut = ids if len(ids) <= max_length else [*ids[: max_length - 1], ids[-1]]
        return {"input_ids": cut}

    def answered(self, passage: Passage, max_length: int) -> tuple[Inputs, list[int]]:
        """See `TextLayout`."""
        answer, labels = passage.answer[:max_length], passage.labels[:max_length]
        read = self.prompt(passage.prompt, max_length)
        return {**read, DECODER: [self.start, *answer[:-1]]}, labels

    def unanswered(self, example: Example) -> Example:
        """See `TextLayout`."""
        return Example(example.row, {"input_ids": example.inputs["input_ids"]})

    def fits(self, passage: Passage, max_length: int) -> bool:
        """See `TextLayout`."""
        return max(len(passage.prompt), len(passage.answer)) <= max_length


def _end_of_text(tokenizer: Tokenizer) -> int:
    end = tokenizer.eos_token_id
    if end is None:
        raise UserError("task.kind: text: the tokenizer has no token that ends a text.")
    return int(end)


def layout_of(files: BackboneFiles, source: TextSource, tokenizer: Tokenizer) -> TextLayout:
    """The layout of a backbone for prompts of a source."""
    if files.family.encoder_decoder:
        return EncoderAndDecoder(int(files.family.decoder_start(files.config) or 0))
    if files.family.vocabulary.blank == "piece":
        return BlankAndPiece(PieceTokens.of(tokenizer))
    return OneAfterTheOther(source)


def longest_inputs(family: Family, length: int) -> Inputs:
    """What `answered` makes of a row of `length` tokens, all of them 0."""
    tokens = [0] * length
    if family.encoder_decoder:
        return {"input_ids": tokens, DECODER: tokens}
    if family.vocabulary.blank == "piece":
        return {"input_ids": tokens, POSITIONS: tokens, BLOCKS: tokens}
    return {"input_ids": tokens}


def layout_inputs(examples: Sequence[Example], pad: Padding) -> dict[str, Tensor]:
    """Examples of any layout as a batch, padded on the right."""
    given = [{n: v for n, v in one.inputs.items() if n != DECODER} for one in examples]
    inputs = pad_inputs([Example(0, one) for one in given], pad)
    if POSITIONS in inputs:
        inputs["position_ids"] = torch.stack((inputs.pop(POSITIONS), inputs.pop(BLOCKS)), dim=1)
    if DECODER in examples[0].inputs:
        rows = [one.inputs[DECODER] for one in examples]
        inputs[DECODER] = pad_rows(rows, max(map(len, rows)), pad.token)
    return inputs
