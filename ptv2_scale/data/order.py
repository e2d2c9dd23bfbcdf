"""In which order examples are seen: pure functions of the data and the seed.

Nothing here knows how many ranks there are (`ptv2_scale.data.dealing` does), so a run has the same
batches on one GPU and on a hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from random import Random

# Batches whose examples are sorted by length together: more of them pad less and shuffle less.
BUCKET_BATCHES = 50


@dataclass(frozen=True)
class Group:
    """Examples that may stand in one batch: all, or those of one of several tasks.

    Attributes:
        indices: of the examples.
        weight: of the group in the sampling of batches, beside those of the others.
    """

    indices: tuple[int, ...]
    weight: float


def mixed_batches(
    lengths: Sequence[int], groups: Sequence[Group], global_batch: int, seed: int, epoch: int
) -> list[list[int]]:
    """The global batches of one epoch, each of one group; of one group alone, `epoch_batches`.

    An epoch has as many batches as all examples need. Of these each group gets its share by
    weight, one at least, and goes on in its own order from epoch to epoch: a group that gets more
    batches than it has comes again, in another order; one that gets fewer is continued in the next.

    Args:
        lengths: tokens of every example.
        groups: of the examples.
        global_batch: most examples of a batch.
        seed: the run's seed.
        epoch: counted from 0.
    """
    if len(groups) == 1:
        return epoch_batches(lengths, global_batch, seed, epoch)
    batches = [
        batch
        for number, (group, count) in enumerate(
            zip(groups, batch_counts(groups, global_batch), strict=True)
        )
        for batch in _stream(lengths, group, global_batch, f"{seed} {number}", epoch, count)
    ]
    Random(f"mixture {seed} {epoch}").shuffle(batches)
    return batches


def batch_counts(groups: Sequence[Group], global_batch: int) -> list[int]:
    """Batches an epoch of each group."""
    needed = sum(ceil(len(group.indices) / global_batch) for group in groups)
    total = sum(group.weight for group in groups)
    return [max(1, round(needed * group.weight / total)) for group in groups]


def _stream(
    lengths: Sequence[int], group: Group, global_batch: int, seed: str, epoch: int, count: int
) -> list[list[int]]:
    """Batches epoch * count and following of a group that is gone through again and again."""
    own = [lengths[index] for index in group.indices]
    size = ceil(len(own) / global_batch)
    rounds = range(epoch * count // size, ((epoch + 1) * count - 1) // size + 1)
    found = [batch for one in rounds for batch in epoch_batches(own, global_batch, seed, one)]
    start = epoch * count - rounds.start * size
    return [[group.indices[place] for place in batch] for batch in found[start : start + count]]


def epoch_batches(
    lengths: Sequence[int], global_batch: int, seed: int | str, epoch: int
) -> list[list[int]]:
    """The global batches of one epoch: each index once, texts of similar length together.

    Args:
        lengths: tokens of every example.
        global_batch: examples a batch; the last batch holds what is left.
        seed: the run's seed.
        epoch: counted from 0; every epoch has another order.

    Returns:
        Batches of indices; within a batch, the longest example first.
    """
    # Seeded with text: Python hashes it the same way in every process and version.
    random = Random(f"order {seed} {epoch}")
    shuffled = list(range(len(lengths)))
    random.shuffle(shuffled)
    whole = len(shuffled) - len(shuffled) % global_batch
    batches: list[list[int]] = []
    for start in range(0, whole, BUCKET_BATCHES * global_batch):
        bucket = shuffled[start : min(start + BUCKET_BATCHES * global_batch, whole)]
        batches += _cut(_longest_first(bucket, lengths), global_batch)
    random.shuffle(batches)
    rest = _longest_first(shuffled[whole:], lengths)
    return [*batches, rest] if rest else batches


def evaluation_batches(lengths: Sequence[int], micro_batch: int) -> list[list[int]]:
    """Micro-batches that depend on the data alone, the longest examples first.

    The same batches on any number of ranks give predictions of the same bits; the longest first
    shows at once whether the memory is enough.
    """
    return _cut(_longest_first(range(len(lengths)), lengths), micro_batch)


def _longest_first(indices: Sequence[int], lengths: Sequence[int]) -> list[int]:
    return sorted(indices, key=lambda index: (-lengths[index], index))


def _cut(indices: Sequence[int], size: int) -> list[list[int]]:
    return [list(indices[start : start + size]) for start in range(0, len(indices), size)]
