"""Batches are padded as transformers' own tokenizers pad them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from ptv2_scale.data.collate import Batch, Example, Padding, by_example, pad_inputs


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


@pytest.mark.parametrize(
    ("mask", "known"),
    [([[1, 1, 1], [1, 0, 0]], True), ([[1, 1, 1], [0, 0, 1]], False), ([[1, 0, 1]], False)],
)
def test_where_a_batch_is_padded_is_known_once_it_has_left_the_cpu(
    mask: list[list[int]], known: bool
) -> None:
    batch = Batch({"input_ids": torch.tensor(mask), "attention_mask": torch.tensor(mask)}, {}, "a")
    assert "right_padded" not in batch.arguments
    moved = batch.to(torch.device("meta"))
    assert moved.arguments.get("right_padded", False) is known
    assert moved.to(torch.device("meta")).right_padded is known
    assert moved.part == "a"
    assert {one.device.type for one in moved.inputs.values()} == {"meta"}


def test_a_mask_of_answers_counts_too() -> None:
    right, left = torch.tensor([[1, 1], [1, 0]]), torch.tensor([[1, 1], [0, 1]])
    inputs = {"input_ids": right, "attention_mask": right, "decoder_attention_mask": left}
    assert not Batch(inputs).to(torch.device("cpu")).right_padded
