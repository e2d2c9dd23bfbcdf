"""Where a classic GLM's prompts and answers stand, by hand after the original code's data sets."""

from __future__ import annotations

import pytest
import torch
from glm_words import CLS, END, EOS, G_MASK, MASK, START, words_tokenizer

from ptv2_scale.backbones.glm_classic.vocabularies import PieceTokens
from ptv2_scale.data.collate import Example, Padding
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.piece_layout import BLOCKS, POSITIONS, BlankAndPiece, with_blank
from ptv2_scale.tasks.text_layouts import layout_inputs
from ptv2_scale.tasks.text_pairs import Passage

TOKENIZER = words_tokenizer()
LAYOUT = BlankAndPiece(PieceTokens.of(TOKENIZER))
ANSWER = [20, 21, END]
AT_END = Passage([CLS, 10, 11, G_MASK, EOS], ANSWER, ANSWER)
INSIDE = Passage([CLS, 10, MASK, 11, 12, EOS], ANSWER, ANSWER)


def test_a_piece_stands_at_its_mask() -> None:
    inputs, target = LAYOUT.answered(AT_END, 8)
    assert inputs == {
        "input_ids": [CLS, 10, 11, G_MASK, EOS, START, 20, 21],
        POSITIONS: [0, 1, 2, 3, 4, 3, 3, 3],
        BLOCKS: [0, 0, 0, 0, 0, 1, 2, 3],
    }
    assert target == [-100] * 5 + ANSWER
    asked = LAYOUT.prompt(AT_END.prompt, 8)
    assert asked == {name: values[:6] for name, values in inputs.items()}
    assert LAYOUT.unanswered(Example(7, inputs, target)) == Example(7, asked)
    assert LAYOUT.answered(INSIDE, 9)[0][POSITIONS] == [0, 1, 2, 3, 4, 5, 2, 2, 2]


def test_a_batch_has_positions_and_block_positions() -> None:
    examples = [Example(n, *LAYOUT.answered(one, 9)) for n, one in enumerate((AT_END, INSIDE))]
    batch = layout_inputs(examples, Padding(0))
    assert set(batch) == {"input_ids", "attention_mask", "position_ids"}
    assert batch["attention_mask"].sum(dim=1).tolist() == [8, 9]
    expected = [[0, 1, 2, 3, 4, 3, 3, 3, 0], [0, 0, 0, 0, 0, 1, 2, 3, 0]]
    assert torch.equal(batch["position_ids"][0], torch.tensor(expected))


def test_of_a_long_text_ends_and_blank_stay() -> None:
    assert (LAYOUT.fits(INSIDE, 9), LAYOUT.fits(INSIDE, 8)) == (True, False)
    assert LAYOUT.answered(INSIDE, 8)[0]["input_ids"] == [CLS, 10, MASK, 11, EOS, START, 20, 21]
    assert LAYOUT.answered(INSIDE, 6)[0]["input_ids"] == [CLS, 10, MASK, EOS, START, 20]
    inputs, target = LAYOUT.answered(INSIDE, 4)
    assert (inputs["input_ids"], target[3:]) == ([CLS, MASK, EOS, START], [20])
    assert LAYOUT.prompt(AT_END.prompt, 5)["input_ids"] == [CLS, 10, G_MASK, EOS, START]
    # A short text leaves its room to the answer.
    long = Passage([CLS, G_MASK, EOS], [*range(20, 30)], [*range(20, 30)])
    assert LAYOUT.answered(long, 10)[1] == [-100] * 3 + [*range(20, 27)]


def test_where_the_blank_is() -> None:
    def ids(text: str) -> list[int]:
        return with_blank(TOKENIZER(text)["input_ids"], TOKENIZER, "row 3")

    assert ids("w0 w1") == AT_END.prompt
    assert ids("w0 [MASK] w1 w2") == INSIDE.prompt
    with pytest.raises(UserError, match=r"row 3: the text has 2 blanks \(\[MASK\], \[sMASK\]"):
        ids("w0 [sMASK] w1 [gMASK]")
