"""Digests of examples: what they depend on, and that they stay as checkpoints have them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from tiny import add_blanks, save_backbone, save_tokenizer

from ptv2_scale.backbones.tokenizers import load_tokenizer
from ptv2_scale.data.collate import Example
from ptv2_scale.model.identity import example_digests, identity_of


def test_an_example_of_one_sequence_has_the_digest_that_checkpoints_hold() -> None:
    (found,) = example_digests([Example(3, {"input_ids": [5, 6]}, 1)])
    assert found == hashlib.sha256(b"3 [('input_ids', [5, 6])] 1").digest()


def test_where_one_sequence_ends_is_a_part_of_an_example() -> None:
    ids = {"input_ids": [5, 6, 7]}
    examples = [Example(0, ids, sequences=lengths) for lengths in ((), (1, 2), (2, 1))]
    assert len(set(example_digests(examples))) == 3


def test_another_right_answer_is_a_part_of_an_example() -> None:
    ids = {"input_ids": [5, 6]}
    examples = [Example(0, ids, (1, 1), answers=texts) for texts in ((), ("w1",), ("w1", "w2"))]
    assert len(set(example_digests(examples))) == 3


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("tokenizer_config.json", "mask_token", "[gMASK]"),
        ("tokenizer_config.json", "truncation_side", "left"),
        ("tokenizer.json", "normalizer", {"type": "Lowercase"}),
        ("tokenizer.json", "post_processor", None),
    ],
)
def test_what_changes_what_is_read_of_texts_is_another_tokenizer(
    name: str, key: str, value: object, tmp_path: Path
) -> None:
    save_backbone("bert", tmp_path)
    save_tokenizer(tmp_path)
    add_blanks(tmp_path)
    before = identity_of(tmp_path, load_tokenizer(tmp_path, False))
    assert not before.differences(identity_of(tmp_path, load_tokenizer(tmp_path, False)))
    settings = json.loads((tmp_path / name).read_text())
    if key == "post_processor":  # a pair alone is joined in another way
        settings[key]["pair"].pop()
    else:
        settings[key] = value
    (tmp_path / name).write_text(json.dumps(settings))
    now = identity_of(tmp_path, load_tokenizer(tmp_path, False))
    assert before.differences(now) == ["the tokenizer"]
