"""Digests of examples: what they depend on, and that they stay as checkpoints have them."""

from __future__ import annotations

import hashlib

from ptv2_scale.data.collate import Example
from ptv2_scale.model.identity import example_digests


def test_an_example_of_one_sequence_has_the_digest_that_checkpoints_hold() -> None:
    (found,) = example_digests([Example(3, {"input_ids": [5, 6]}, 1)])
    assert found == hashlib.sha256(b"3 [('input_ids', [5, 6])] 1").digest()


def test_where_one_sequence_ends_is_a_part_of_an_example() -> None:
    ids = {"input_ids": [5, 6, 7]}
    examples = [Example(0, ids, sequences=lengths) for lengths in ((), (1, 2), (2, 1))]
    assert len(set(example_digests(examples))) == 3
