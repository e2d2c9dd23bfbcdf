"""Batches are padded as transformers' own tokenizers pad them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from ptv2_scale.data.collate import Example, Padding, by_example, pad_inputs


def test_right_padding() -> None:
    examples = [
        Example(7, {"input_ids": [5, 6, 7], "token_type_ids": [0, 0, 1]}, 1),
        Example(3, {"input_ids": [8], "token_type_ids": [1]}, None),
    ]
    batch = pad_inputs(examples, Padding(9))
    expected = {
        "input_ids": [[5, 6, 7], [8, 9, 9]],
        "token_type_ids": [[0, 0, 1], [1, 0, 0]],
        "attention_mask": [[1, 1, 1], [1, 0, 0]],
    }
    assert {name: tensor.tolist() for name, tensor in batch.items()} == expected
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}
    assert [example.length for example in examples] == [3, 1]


def test_an_example_of_several_sequences_takes_several_lines() -> None:
    examples = [
        Example(0, {"input_ids": [5, 6, 7, 8], "token_type_ids": [0, 1, 0, 1]}, sequences=(3, 1)),
        Example(1, {"input_ids": [9, 9], "token_type_ids": [1, 1]}),
    ]
    batch = pad_inputs(examples, Padding(4))
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 4, 4], [9, 9, 4]]
    assert batch["token_type_ids"].tolist() == [[0, 1, 0], [1, 0, 0], [1, 1, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    assert by_example("abc", examples) == [["a", "b"], ["c"]]
    assert [example.length for example in examples] == [4, 2]


@pytest.mark.parametrize(
    ("pad", "end", "token"), [(0, 1, 0), (None, 50256, 50256), (None, None, 0)]
)
def test_padding_of_a_tokenizer(pad: int | None, end: int | None, token: int) -> None:
    assert Padding.of(SimpleNamespace(pad_token_id=pad, eos_token_id=end)) == Padding(token)
