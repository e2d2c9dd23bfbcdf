"""Where prompt and answer of a text task stand for a classic GLM: a blank, and what fills it."""

from __future__ import annotations

from dataclasses import dataclass

from ptv2_scale.backbones.glm_classic.inputs import PieceRow
from ptv2_scale.backbones.glm_classic.vocabularies import LONG, PieceTokens
from ptv2_scale.data.collate import Example
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Tokenizer
from ptv2_scale.tasks.cloze import without_ends
from ptv2_scale.tasks.text import Inputs
from ptv2_scale.tasks.text_pairs import Passage

POSITIONS, BLOCKS = "positions", "block_positions"  # of an example's inputs


@dataclass(frozen=True)
class BlankAndPiece:
    """A classic GLM's: the text has a blank, and the answer is the piece that fills it.

    As in the original code for sequence-to-sequence tasks (github.com/THUDM/GLM, tasks/seq2seq):
    tokens of the text see each other, those of the piece are at the position of the mask, with
    block positions from 1.

    Attributes:
        tokens: ids of masks, <|startofpiece|> and <|endofpiece|>.
    """

    tokens: PieceTokens

    def answer_end(self, tokenizer: Tokenizer) -> int:
        """See `TextLayout`."""
        return self.tokens.end

    def asked(self, ids: list[int], tokenizer: Tokenizer, where: str) -> list[int]:
        """See `TextLayout`."""
        return with_blank(ids, tokenizer, where)

    def prompt(self, ids: list[int], max_length: int) -> Inputs:
        """See `TextLayout`: of the piece only <|startofpiece|> is read."""
        return self._inputs(self._with_piece(self._cut(ids, max_length - 1), [self.tokens.end]))

    def answered(self, passage: Passage, max_length: int) -> tuple[Inputs, list[int]]:
        """See `TextLayout`: an answer that is too long loses its end, but for a half."""
        # Ends and blank of a text need three tokens, so of an odd one the text has more.
        room = max((max_length - 1) // 2, max_length - len(passage.prompt))
        answer = passage.answer[:room]
        row = self._with_piece(self._cut(passage.prompt, max_length - len(answer)), answer)
        return self._inputs(row), row.labels

    def unanswered(self, example: Example) -> Example:
        """See `TextLayout`."""
        read = example.inputs[BLOCKS].index(1) + 1
        inputs = {name: values[:read] for name, values in example.inputs.items()}
        return Example(example.row, inputs)

    def fits(self, passage: Passage, max_length: int) -> bool:
        """See `TextLayout`."""
        return len(passage.prompt) + len(passage.answer) <= max_length

    def _with_piece(self, ids: list[int], answer: list[int]) -> PieceRow:
        row = PieceRow(list(ids))
        row.add_piece(self.tokens.start, answer, self._blank(ids), 0)
        return row

    def _inputs(self, row: PieceRow) -> Inputs:
        return {"input_ids": row.ids, POSITIONS: row.positions, BLOCKS: row.blocks}

    def _blank(self, ids: list[int]) -> int:
        return next(place for place, token in enumerate(ids) if token in self.tokens.masks)

    def _cut(self, ids: list[int], room: int) -> list[int]:
        """A text without the last of its words: its blank, its first and its last token stay."""
        kept = {0, self._blank(ids), len(ids) - 1}
        words = [place for place in range(len(ids)) if place not in kept]
        lost = set(words[max(0, room - len(kept)) :])
        return [token for place, token in enumerate(ids) if place not in lost]


def with_blank(ids: list[int], tokenizer: Tokenizer, where: str) -> list[int]:
    """A text for `BlankAndPiece`: with the mask that it has, or one at its end, [gMASK] if known.

    Args:
        ids: the text, as the tokenizer ends it.
        tokenizer: a classic GLM's.
        where: place of the text, for the message.

    Raises:
        UserError: the text has several masks.
    """
    masks = PieceTokens.of(tokenizer).masks
    found = [token for token in ids if token in masks]
    if len(found) > 1:
        raise UserError(
            f"{where}: the text has {len(found)} blanks ({', '.join(masks.values())}), and one"
            " answer fills one. Leave one of them, or none: the answer then stands at its end."
        )
    if found:
        return ids
    mask = next((one for one, name in masks.items() if name == LONG), next(iter(masks)))
    ends = {tokenizer.eos_token_id, tokenizer.sep_token_id} - {None}
    text = without_ends({"input_ids": ids}, ends)["input_ids"]
    return [*text, mask, *ids[len(text) :]]
