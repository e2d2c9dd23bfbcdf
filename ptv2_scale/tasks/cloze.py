"""Rows as cloze questions for each architecture, and the words that are read from the blank.

After Schick and Schütze, "Exploiting Cloze Questions for Few Shot Text Classification" (EACL 2021).
The blank is what the architecture was pretrained with: a mask token (BERT, RoBERTa), the sentinel
<extra_id_0>, which a T5's decoder repeats before it says the word, a mask token that a classic GLM
fills with a piece of its own, and for a causal model the end of the text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.backbones.glm_classic.vocabularies import PieceTokens
from ptv2_scale.data.collate import Example, Padding, pad_inputs
from ptv2_scale.data.rows import place_of
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Tokenizer
from ptv2_scale.tasks.pattern import Pattern
from ptv2_scale.tasks.text import Inputs, TextFormat, encode_texts, fitted, token_count

SENTINEL = "<extra_id_0>"
READ_AT = "read_at"  # of a batch's inputs: which token's state is read, counted without padding
_FIXED = ("decoder_input_ids", READ_AT)  # of an example's inputs: not one number a token


@dataclass(frozen=True)
class Cloze:
    """A pattern on one architecture, with the word of each label.

    Attributes:
        pattern: of a row.
        words: of the labels, in their order.
        text: how a row's columns are read.
        family: the backbone's.
        config: the backbone's configuration.
    """

    pattern: Pattern
    words: tuple[str, ...]
    text: TextFormat
    family: Family
    config: Config

    def __post_init__(self) -> None:
        """Refuse columns that a causal model could not see: a `UserError`."""
        behind = self.pattern.columns_behind
        if self.family.vocabulary.blank == "last" and behind:
            raise UserError(
                f"task.pattern: '{self.pattern.text:.80}': {{{behind[0]}}} stands behind the blank,"
                f" and {self.family.name} reads only what is before it. Move {{mask}} to the end."
            )

    def encode(
        self, rows: Sequence[Mapping[str, object]], tokenizer: Tokenizer, max_length: int
    ) -> tuple[list[Inputs], int]:
        """Token ids of rows, and how many had their texts cut; the pattern itself never is.

        Args:
            rows: with the pattern's columns.
            tokenizer: the backbone's.
            max_length: most tokens of a text, special tokens included.

        Returns:
            For each row `input_ids`, perhaps `token_type_ids`, `read_at` (one number) and what a
            decoder starts with.

        Raises:
            UserError: a column is missing or not text, the pattern alone is too long, a text holds
                the blank's own token, or the tokenizer has no such token.
        """
        blank = self._blank(tokenizer)
        values = (self.text.values(row, number) for number, row in enumerate(rows, start=1))
        texts = [{name: found[name] for name in self.pattern.columns} for found in values]
        found = self._tokens(texts, tokenizer, blank)
        cut = [place for place, one in enumerate(found) if token_count(one) > max_length]
        if cut:
            self._check_room(tokenizer, blank, max_length)
        long = cut
        while long:
            for place in long:
                texts[place] = _shorter(texts[place], max_length / token_count(found[place]))
            again = self._tokens([texts[place] for place in long], tokenizer, blank)
            for place, one in zip(long, again, strict=True):
                found[place] = one
            long = [place for place in long if token_count(found[place]) > max_length]
        return [
            self._placed(one, tokenizer, place_of(row, number))
            for number, (row, one) in enumerate(zip(rows, found, strict=True), start=1)
        ], len(cut)

    def longest(self, length: int) -> Inputs:
        """What `encode` makes of a text of `length` tokens, all of them 0."""
        found: Inputs = {"input_ids": [0] * length, READ_AT: [length - 1]}
        if self.family.vocabulary.blank == "sentinel":
            return {**found, "decoder_input_ids": [0, 0], READ_AT: [1]}
        return found

    def collate(self, examples: Sequence[Example], pad: Padding) -> dict[str, Tensor]:
        """Inputs of a batch: padded tokens, `read_at` [batch], and what starts a decoder."""
        tokens = [_without(example, _FIXED) for example in examples]
        inputs = pad_inputs(tokens, pad)
        for name in _FIXED:
            if name in examples[0].inputs:
                inputs[name] = torch.tensor([example.inputs[name] for example in examples])
        inputs[READ_AT] = inputs[READ_AT][:, 0]
        if self.family.vocabulary.blank == "piece":
            inputs["position_ids"] = _piece_positions(inputs)
        return inputs

    def token_ids(self, tokenizer: Tokenizer) -> list[int]:
        """The token of each word, as it stands in the blank.

        Raises:
            UserError: a word is unknown, several tokens long, or the same token as another's.
        """
        found = [_token_of(word, self.pattern.spaced, tokenizer) for word in self.words]
        for place, token in enumerate(found):
            if token in found[:place]:
                first = self.words[found.index(token)]
                raise UserError(
                    f"task.verbalizer: '{first}' and '{self.words[place]}' are one token of this"
                    " vocabulary, so their labels could not be told apart."
                )
        return found

    def _blank(self, tokenizer: Tokenizer) -> str:
        kind = self.family.vocabulary.blank
        if kind == "last":
            return ""
        token = SENTINEL if kind == "sentinel" else getattr(tokenizer, "mask_token", None)
        unknown = (None, tokenizer.unk_token_id)
        if token is None or tokenizer.convert_tokens_to_ids(token) in unknown:
            raise UserError(
                f"task.head: verbalizer: the tokenizer has no {token or 'mask token'}, with which"
                f" {self.family.name} fills blanks. Use the one it was published with"
                " (backbone.tokenizer)."
            )
        return str(token)

    def _tokens(
        self, texts: Sequence[Mapping[str, str]], tokenizer: Tokenizer, blank: str
    ) -> list[Inputs]:
        if blank:
            return encode_texts(tokenizer, [(self.pattern.filled(one, blank),) for one in texts])
        found = encode_texts(tokenizer, [(self.pattern.before_blank(one),) for one in texts])
        # The word is the text's next token: nothing that ends a text may stand before it.
        ends = {tokenizer.eos_token_id, tokenizer.sep_token_id} - {None}
        return [without_ends(one, ends) for one in found]

    def _check_room(self, tokenizer: Tokenizer, blank: str, max_length: int) -> None:
        (bare,) = self._tokens([dict.fromkeys(self.pattern.columns, "")], tokenizer, blank)
        least = token_count(bare) + len(self.pattern.columns)
        if max_length < least:
            raise UserError(
                f"task.max_length: {max_length} leaves no room for texts: the pattern alone has"
                f" {token_count(bare)} tokens, and it is not cut. Raise it to {least} or more."
            )

    def _placed(self, found: Inputs, tokenizer: Tokenizer, where: str) -> Inputs:
        """The place that is read, and what is read beside the text."""
        ids, kind = found["input_ids"], self.family.vocabulary.blank
        if not ids:
            raise UserError(f"{where}: no tokens stand before the blank of task.pattern.")
        if kind == "last":
            return {**found, READ_AT: [len(ids) - 1]}
        token = tokenizer.convert_tokens_to_ids(self._blank(tokenizer))
        if ids.count(token) != 1:
            raise UserError(
                f"{where}: its text holds '{self._blank(tokenizer)}', which is the token of the"
                " pattern's blank. Take it out of the text."
            )
        if kind == "sentinel":
            start = self.family.decoder_start(self.config)
            return {**found, "decoder_input_ids": [int(start or 0), token], READ_AT: [1]}
        if kind == "piece":
            start = PieceTokens.of(tokenizer).start
            return {"input_ids": [*ids, start], READ_AT: [ids.index(token)]}
        return {**found, READ_AT: [ids.index(token)]}


def _piece_positions(inputs: dict[str, Tensor]) -> Tensor:
    """Positions [batch, 2, n] of texts, behind each its piece of one token, which is then read."""
    mask, blanks = inputs["attention_mask"], inputs[READ_AT]
    last = mask.sum(dim=1) - 1
    positions = mask.cumsum(dim=1).sub(1) * mask
    positions.scatter_(1, last[:, None], blanks[:, None])
    blocks = torch.zeros_like(positions).scatter_(1, last[:, None], 1)
    inputs[READ_AT] = last
    return torch.stack((positions, blocks), dim=1)


def _token_of(word: str, spaced: bool, tokenizer: Tokenizer) -> int:
    found = tokens_behind(word, spaced, tokenizer)
    if len(found) != 1:
        pieces = ", ".join(repr(one) for one in tokenizer.convert_ids_to_tokens(found))
        raise UserError(
            f"task.verbalizer: '{word}' is {len(found)} tokens of this vocabulary ({pieces}); a"
            " blank is one token. Choose a word that is one."
        )
    if found[0] == tokenizer.unk_token_id:
        raise UserError(f"task.verbalizer: '{word}' is unknown to this vocabulary.")
    return found[0]


def tokens_behind(word: str, spaced: bool, tokenizer: Tokenizer) -> list[int]:
    """Tokens of a text behind other text: many vocabularies spell it otherwise at a start."""

    def tokens(text: str) -> list[int]:
        found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    before, whole = tokens("."), tokens(f".{' ' if spaced else ''}{word}")
    behind = whole[len(before) :]
    return behind if behind and whole[: len(before)] == before else tokens(word)


def without_ends(found: Inputs, ends: set[int | None]) -> Inputs:
    """A text's inputs without the tokens at its end that are among `ends`."""
    count = token_count(found)
    while count and found["input_ids"][count - 1] in ends:
        count -= 1
    return {name: values[:count] for name, values in found.items()}


def _shorter(texts: Mapping[str, str], share: float) -> dict[str, str]:
    """Texts with about that share of their characters, fewer in any case; the longest is cut."""
    total = sum(map(len, texts.values()))
    room = min(total - 1, int(total * share))
    return dict(zip(texts, fitted(tuple(texts.values()), room), strict=True))


def _without(example: Example, names: Sequence[str]) -> Example:
    inputs = {name: values for name, values in example.inputs.items() if name not in names}
    return Example(example.row, inputs, example.target)
