"""Where prompts and answers stand, by hand."""

from __future__ import annotations

import pytest

from ptv2_scale.data.collate import Example
from ptv2_scale.tasks.chat import Chats
from ptv2_scale.tasks.text_layouts import DECODER, EncoderAndDecoder, OneAfterTheOther
from ptv2_scale.tasks.text_pairs import Pairs, Passage

CAUSAL = OneAfterTheOther(Pairs("a", "b"))
OF_CHATS = OneAfterTheOther(Chats("messages"))
ONE = Passage([1, 2, 3], [4, 5], [4, 5])
TURNS = Passage([1, 2], [3, 9, 8, 4, 5], [3, -100, -100, 4, 5])


def test_a_causal_model_says_the_next_token() -> None:
    inputs, target = CAUSAL.answered(ONE, 8)
    assert (inputs, target) == ({"input_ids": [1, 2, 3, 4]}, [-100, -100, 4, 5])
    inputs, target = CAUSAL.answered(TURNS, 8)
    assert inputs["input_ids"] == [1, 2, 3, 9, 8, 4]
    assert target == [-100, 3, -100, -100, 4, 5]


@pytest.mark.parametrize(("passage", "prompt"), [(ONE, [1, 2, 3]), (TURNS, [1, 2, 3, 9, 8])])
def test_an_answer_is_taken_out_again(passage: Passage, prompt: list[int]) -> None:
    example = Example(7, *CAUSAL.answered(passage, 8))
    assert CAUSAL.unanswered(example) == Example(7, {"input_ids": prompt})


def test_a_decoder_says_the_token_behind() -> None:
    layout = EncoderAndDecoder(0)
    inputs, target = layout.answered(ONE, 8)
    assert inputs == {"input_ids": [1, 2, 3], DECODER: [0, 4]}
    assert target == [4, 5]
    assert layout.unanswered(Example(7, inputs, target)) == Example(7, {"input_ids": [1, 2, 3]})
    assert layout.answered(ONE, 2)[0]["input_ids"] == [1, 3]  # the end of a text stays
    assert (layout.fits(ONE, 3), layout.fits(ONE, 2)) == (True, False)


def test_what_is_too_long() -> None:
    long = Passage([*range(1, 11)], [*range(20, 30)], [*range(20, 30)])
    assert CAUSAL.fits(long, 19)
    assert not CAUSAL.fits(long, 18)
    inputs, target = CAUSAL.answered(long, 8)
    assert inputs["input_ids"] == [1, 2, 3, 4, 5, 20, 21, 22]
    assert target == [-100] * 4 + [20, 21, 22, 23]
    assert OF_CHATS.answered(long, 8)[0]["input_ids"] == [6, 7, 8, 9, 10, 20, 21, 22]
    # A short prompt leaves its room to the answer.
    inputs, target = CAUSAL.answered(Passage([1], long.answer, long.labels), 8)
    assert inputs["input_ids"] == [1, *range(20, 27)]
    assert target == [*range(20, 28)]
    # What is asked keeps its end, where the question is.
    assert OF_CHATS.prompt(long.prompt, 4) == {"input_ids": [7, 8, 9, 10]}
