"""Inputs of classic GLM: written out by hand, and the arithmetic of choices in plain Python."""

from __future__ import annotations

import math
import random

import pytest
import torch
from glm_words import CLS, END, EOS, G_MASK, MASK, PAD, SEP, START, VOCABULARY, words_tokenizer

from ptv2_scale.backbones.glm_classic.inputs import (
    blank_inputs,
    choice_inputs,
    choice_scores,
    text_inputs,
)
from ptv2_scale.runtime.errors import UserError

W = 10  # id of the word w0
N = -100


@pytest.mark.parametrize("side", ["right", "left"])
def test_texts_and_pairs(side: str) -> None:
    batch = text_inputs(words_tokenizer(side), ["w0 w1 w2", "w3"], ["w4", "w5"])
    long = [CLS, W, W + 1, W + 2, SEP, W + 4, EOS]
    short = [CLS, W + 3, SEP, W + 5, EOS]
    pad, none = [PAD, PAD], [0, 0]
    right = side == "right"
    assert batch["input_ids"].tolist() == [long, short + pad if right else pad + short]
    counted = [0, 1, 2, 3, 4]
    assert batch["position_ids"].tolist() == [
        [[0, 1, 2, 3, 4, 5, 6], [0] * 7],
        [counted + none if right else none + counted, [0] * 7],
    ]
    ones = [1] * 5
    assert batch["attention_mask"].tolist() == [[1] * 7, ones + none if right else none + ones]
    (cut,) = text_inputs(words_tokenizer(side), ["w0 w1 w2"], max_length=4)["input_ids"].tolist()
    assert cut == [CLS, W + 1, W + 2, EOS]


def test_blanks_and_their_pieces() -> None:
    texts = ["w0 [MASK] w1 [gMASK]", "[MASK]"]
    batch = blank_inputs(words_tokenizer(), texts, [["w2 w3", ""], ["w4"]])
    assert batch["input_ids"].tolist() == [
        # a piece of two words, and an empty one
        [CLS, W, MASK, W + 1, G_MASK, EOS, START, W + 2, W + 3, START],
        [CLS, MASK, EOS, START, W + 4, PAD, PAD, PAD, PAD, PAD],
    ]
    assert batch["position_ids"].tolist() == [
        [[0, 1, 2, 3, 4, 5, 2, 2, 2, 4], [0, 0, 0, 0, 0, 0, 1, 2, 3, 1]],
        [[0, 1, 2, 1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 2, 0, 0, 0, 0, 0]],
    ]
    assert batch["labels"].tolist() == [
        [N, N, N, N, N, N, W + 2, W + 3, END, END],
        [N, N, N, W + 4, END, N, N, N, N, N],
    ]
    assert batch["attention_mask"].tolist() == [6, 3]


def test_choices_side_by_side() -> None:
    texts, choices = ["w0 [MASK]", "[MASK]"], [["w1 w2", "w3"], ["w4"]]
    batch = choice_inputs(words_tokenizer(), texts, choices)
    assert batch["input_ids"].tolist() == [
        [CLS, W, MASK, EOS, START, W + 1, START],
        [CLS, MASK, EOS, START, PAD, PAD, PAD],
    ]
    assert batch["position_ids"].tolist() == [
        [[0, 1, 2, 3, 2, 2, 2], [0, 0, 0, 0, 1, 2, 1]],
        [[0, 1, 2, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0]],
    ]
    assert batch["labels"].tolist() == [
        [N, N, N, N, W + 1, W + 2, W + 3],
        [N, N, N, W + 4, N, N, N],
    ]
    text, second = [1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0]
    assert batch["attention_mask"][:, 0].tolist() == [
        [text] * 4 + [[1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0, 0, 1]],
        [second] * 3 + [[1, 1, 1, 1, 0, 0, 0]] + [second] * 3,
    ]


def test_scores_are_sums_of_log_probabilities() -> None:
    source = random.Random(3)
    choices = [["w1 w2 w7", "w3", "w3 w4"], ["w4"], ["w9 w1", "w9 w2"]]
    batch = choice_inputs(words_tokenizer(), ["w0 [MASK]", "[MASK]", "w5 [MASK] w6"], choices)
    rows, columns = batch["input_ids"].shape
    logits = [
        [[source.gauss(0, 3) for _ in range(VOCABULARY)] for _ in range(columns)]
        for _ in range(rows)
    ]
    expected = []
    for row, texts in enumerate(choices):
        place = batch["input_ids"][row].tolist().index(START)
        scores = []
        for text in texts:
            score = 0.0
            for word in text.split():
                values = logits[row][place]
                total = math.log(sum(math.exp(value) for value in values))
                score += values[W + int(word[1:])] - total
                place += 1
            scores.append(score)
        expected.append(scores + [-math.inf] * (3 - len(scores)))
    found = choice_scores(torch.tensor(logits), batch)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-5)


def test_blanks_that_do_not_match_their_pieces() -> None:
    tokenizer = words_tokenizer()
    with pytest.raises(UserError, match=r"text 1: has 1 blanks \(\[MASK\], .*, but 2 are to be"):
        blank_inputs(tokenizer, ["[MASK]", "w1 [MASK]"], [["w0"], ["w1", "w2"]])
    with pytest.raises(UserError, match="text 0: has 0 blanks"):
        choice_inputs(tokenizer, ["[MASK] w1 w2 w3"], [["w0"]], max_length=4)
    with pytest.raises(UserError, match="text 0: choice 1 is empty"):
        choice_inputs(tokenizer, ["[MASK] w1"], [["w0", ""]])
