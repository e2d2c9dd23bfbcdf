"""In which order examples are seen, and by which rank: pure functions of the data and the seed.

Nothing but `deal` and `deal_whole` knows how many ranks there are, so a run has the same batches on
one GPU and on a hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isqrt
from random import Random

from ptv2_scale.runtime.errors import UserError

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


def _longest_first(indices: Sequence[int], lengths: Sequence[int]) -> list[int]:
    return sorted(indices, key=lambda index: (-lengths[index], index))


def _cut(indices: Sequence[int], size: int) -> list[list[int]]:
    return [list(indices[start : start + size]) for start in range(0, len(indices), size)]


def deal(
    batch: Sequence[int], rank: int, world: int, micro_batch: int, steps: int
) -> list[list[int]]:
    """One rank's micro-batches of a global batch, neighbours in `batch` kept together.

    Args:
        batch: indices of one global batch; the last of an epoch may be smaller than the others.
        rank: which rank, from 0.
        world: number of ranks.
        micro_batch: most examples of a rank in one micro-step.
        steps: micro-steps, from `accumulation`; the same for every rank.

    Returns:
        `steps` lists of indices. Sizes differ by at most one over all ranks and steps, so some
        are empty where the batch has fewer examples than there are places.
    """
    places = world * steps
    if len(batch) > places * micro_batch:
        raise ValueError(f"{len(batch)} examples do not fit {places} x {micro_batch} places")
    share, more = divmod(len(batch), places)
    starts = [place * share + min(place, more) for place in range(places + 1)]
    # Ranks take turns, so that those that wait for each other have texts of similar length.
    mine = range(rank, places, world)
    return [list(batch[starts[place] : starts[place + 1]]) for place in mine]


def accumulation(global_batch: int, micro_batch: int, world: int) -> int:
    """Micro-steps of each rank that make up one global batch.

    Raises:
        UserError: `micro_batch` times the number of ranks does not divide `global_batch`.
    """
    if global_batch % (micro_batch * world) == 0:
        return global_batch // (micro_batch * world)
    sizes = micro_batch_sizes(global_batch, world)
    ranks = _divisors(global_batch // micro_batch) if global_batch % micro_batch == 0 else []
    raise UserError(
        f"train.global_batch={global_batch} cannot be divided into micro-batches of "
        f"train.micro_batch={micro_batch} on {world} ranks. "
        f"With {world} ranks, train.micro_batch can be: {_listed(sizes)}. "
        f"With train.micro_batch={micro_batch}, the number of ranks can be: {_listed(ranks)}. "
        f"Or set train.global_batch to a multiple of {micro_batch * world}"
    )


def micro_batch_sizes(global_batch: int, world: int) -> list[int]:
    """Micro-batches into which `world` ranks can divide a global batch, the smallest first."""
    return _divisors(global_batch // world) if global_batch % world == 0 else []


def _divisors(number: int) -> list[int]:
    small = [size for size in range(1, isqrt(number) + 1) if number % size == 0]
    return sorted({*small, *(number // size for size in small)})


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"


def evaluation_batches(lengths: Sequence[int], micro_batch: int) -> list[list[int]]:
    """Micro-batches that depend on the data alone, the longest examples first.

    The same batches on any number of ranks give predictions of the same bits; the longest first
    shows at once whether the memory is enough.
    """
    return _cut(_longest_first(range(len(lengths)), lengths), micro_batch)


def deal_whole(batches: Sequence[Sequence[int]], rank: int, world: int) -> list[list[int] | None]:
    """One rank's share of whole batches, as many entries for every rank; None: nothing to do."""
    turns = -(-len(batches) // world)
    mine = [list(batch) for batch in batches[rank::world]]
    return [*mine, *[None] * (turns - len(mine))]
