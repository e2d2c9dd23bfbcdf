"""The order is a permutation that knows nothing of ranks."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import chain

from hypothesis import given, settings
from hypothesis import strategies as st

from ptv2_scale.data.order import (
    Group,
    batch_counts,
    epoch_batches,
    evaluation_batches,
    mixed_batches,
)

LENGTHS = st.lists(st.integers(1, 40), max_size=300)


@given(LENGTHS, st.integers(1, 40), st.integers(0, 5), st.integers(0, 5))
def test_each_index_once_in_full_batches_and_one_rest(
    lengths: list[int], size: int, seed: int, epoch: int
) -> None:
    batches = epoch_batches(lengths, size, seed, epoch)
    assert sorted(chain(*batches)) == list(range(len(lengths)))
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert len(batches) == -(-len(lengths) // size)


GROUPS = [Group(tuple(range(0, 50)), 50.0), Group(tuple(range(50, 57)), 7.0)]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.integers(1, 9), st.integers(0, 3))
def test_batches_of_several_tasks_by_size(sizes: list[int], batch: int, epoch: int) -> None:
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    groups = [
        Group(tuple(range(start, start + size)), size)
        for start, size in zip(starts, sizes, strict=True)
    ]
    counts = batch_counts(groups, batch)
    found = mixed_batches([1] * sum(sizes), groups, batch, 3, epoch)
    kinds = [
        {place for place, one in enumerate(groups) for i in part if i in one.indices}
        for part in found
    ]
    assert all(len(kind) == 1 for kind in kinds)
    assert Counter(place for kind in kinds for place in kind) == dict(enumerate(counts))
    assert all(0 < len(part) <= batch for part in found)


def test_a_task_goes_on_from_epoch_to_epoch_in_its_own_order() -> None:
    equal = [Group(group.indices, 1.0) for group in GROUPS]
    assert batch_counts(GROUPS, 8) == [7, 1]
    assert batch_counts(equal, 8) == [4, 4]
    lengths = [1 + index % 5 for index in range(57)]
    batches = [part for epoch in range(7) for part in mixed_batches(lengths, equal, 8, 1, epoch)]
    large = Counter(index for part in batches for index in part if index < 50)
    small = Counter(index for part in batches for index in part if index >= 50)
    # 28 batches each: four times through seven batches, and 28 times through one.
    assert set(large.values()) == {4}
    assert set(small.values()) == {28}


def test_one_task_alone_has_the_order_it_always_had() -> None:
    lengths = [1 + index % 5 for index in range(57)]
    whole = [Group(tuple(range(57)), 57.0)]
    assert mixed_batches(lengths, whole, 8, 1, 2) == epoch_batches(lengths, 8, 1, 2)


def test_order_depends_on_seed_and_epoch() -> None:
    lengths = [1 + index * 7 % 40 for index in range(500)]
    orders = [epoch_batches(lengths, 8, *which) for which in ((1, 0), (1, 1), (2, 0), (1, 0))]
    assert orders[0] == orders[3]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    # The batch of the longest texts must not come first in every epoch.
    first = {epoch_batches(lengths, 8, 1, epoch)[0][0] for epoch in range(8)}
    assert len({lengths[index] for index in first}) > 1


def test_order_is_the_same_in_another_process() -> None:
    code = (
        "from ptv2_scale.data.order import epoch_batches;"
        "print(epoch_batches([i * 7 % 13 for i in range(50)], 8, 3, 2))"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert found.strip() == str(epoch_batches([i * 7 % 13 for i in range(50)], 8, 3, 2))


def test_buckets_lower_the_padding() -> None:
    lengths = [1 + index * index % 97 for index in range(5000)]
    padded = sum(
        max(lengths[index] for index in batch) * len(batch)
        for batch in epoch_batches(lengths, 16, 0, 0)
    )
    in_file_order = sum(
        max(lengths[start : start + 16]) * len(lengths[start : start + 16])
        for start in range(0, len(lengths), 16)
    )
    text = sum(lengths)
    assert padded - text < 0.1 * (in_file_order - text)


@settings(max_examples=50)
@given(LENGTHS, st.integers(1, 20))
def test_evaluation_begins_with_the_longest(lengths: list[int], micro: int) -> None:
    batches = evaluation_batches(lengths, micro)
    assert sorted(chain(*batches)) == list(range(len(lengths)))
    longest = [max(lengths[index] for index in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)
