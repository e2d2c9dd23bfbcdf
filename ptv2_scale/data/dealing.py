"""Which rank computes which examples of a batch, in which micro-step.

A micro-batch holds a number of examples, or as many tokens as a number of the longest examples
have. Tokens are counted as a backbone computes them: padded to the longest sequence, and with what
a method puts in front of each.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isqrt
from typing import TYPE_CHECKING, Literal, NamedTuple

from ptv2_scale.runtime.errors import UserError

if TYPE_CHECKING:  # it needs PyTorch, and a launch of what is elsewhere does without
    from ptv2_scale.config import Train
    from ptv2_scale.data.collate import Example

FilledBy = Literal["examples", "tokens"]  # up to what a micro-batch is filled


class Size(NamedTuple):
    """What one example, or several in one batch, are made of.

    Attributes:
        sequences: lines of the batch.
        tokens: of the longest sequence.
        decoder: most tokens that a decoder of its own reads.
    """

    sequences: int
    tokens: int
    decoder: int

    @classmethod
    def of(cls, example: Example) -> Size:
        """That of one example."""
        decoder = len(example.inputs.get("decoder_input_ids", ()))
        lengths = example.sequences or (example.length,)
        return cls(len(lengths), max(lengths), decoder)

    def beside(self, other: Size) -> Size:
        """That of both in one batch."""
        longest = max(self.tokens, other.tokens)
        return Size(self.sequences + other.sequences, longest, max(self.decoder, other.decoder))

    def padded(self, front: int) -> int:
        """Tokens that a backbone computes.

        Args:
            front: tokens that a method puts in front of each sequence.
        """
        return self.sequences * (front + self.tokens + self.decoder)


@dataclass(frozen=True)
class TokenBudget:
    """Micro-batches that hold tokens up to a number.

    Attributes:
        sizes: of all examples, by index.
        front: see `Size.padded`.
        most: tokens of a micro-batch; an example that has more is alone in one.
    """

    sizes: Sequence[Size]
    front: int
    most: int

    @classmethod
    def of(cls, examples: Sequence[Example], front: int, micro_batch: int) -> TokenBudget:
        """As many tokens as so many of the longest examples have."""
        sizes = tuple(map(Size.of, examples))
        return cls(sizes, front, micro_batch * max(one.padded(front) for one in sizes))

    def deal(self, batch: Sequence[int], rank: int, world: int) -> list[list[int]]:
        """One rank's micro-batches of a global batch.

        There are as few micro-steps as the budget allows. Of the ways to make so many, the one
        whose largest micro-batch is smallest is taken, for ranks wait for the slowest one.

        Args:
            batch: indices of one global batch, the longest example first.
            rank: which rank, from 0.
            world: number of ranks.

        Returns:
            As many lists of indices for every rank; some are empty where places are left over.
        """
        steps = ceil(len(self._cut(batch, self.most)) / world)

        def enough(tokens: int) -> bool:
            return len(self._cut(batch, tokens)) <= steps * world

        mine = self._cut(batch, bisect_left(range(self.most), True, key=enough))[rank::world]
        return [*mine, *([] for _ in range(steps - len(mine)))]

    def _cut(self, batch: Sequence[int], most: int) -> list[list[int]]:
        """Neighbours together, as many each time as there is room for, one at least."""
        found: list[list[int]] = []
        total = Size(0, 0, 0)
        for index in batch:
            total = total.beside(self.sizes[index])
            if found and total.padded(self.front) <= most:
                found[-1].append(index)
            else:
                found.append([index])
                total = self.sizes[index]
        return found


def deal(
    batch: Sequence[int], rank: int, world: int, micro_batch: int, steps: int
) -> list[list[int]]:
    """One rank's micro-batches of a global batch, neighbours in `batch` kept together.

    Args:
        batch: indices of one global batch; the last of an epoch may be smaller than the others.
        rank: which rank, from 0.
        world: number of ranks.
        micro_batch: most examples of a rank in one micro-step.
        steps: micro-steps, from `micro_steps_of`; the same for every rank.

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


def micro_steps_of(train: Train, world: int) -> int:
    """Micro-steps of each rank in an optimizer step of a recipe; see `accumulation`."""
    return accumulation(train.global_batch, train.examples, world, train.micro_batch_by)


def accumulation(global_batch: int, micro_batch: int, world: int, by: FilledBy) -> int:
    """Micro-steps of each rank that make up one global batch; filled by tokens, the most.

    Raises:
        UserError: `micro_batch` times the number of ranks does not divide `global_batch`, as
            numbers of examples have to.
    """
    if by == "tokens":
        return ceil(global_batch / (micro_batch * world))
    if global_batch % (micro_batch * world) == 0:
        return global_batch // (micro_batch * world)
    sizes = micro_batch_sizes(global_batch, world, by)
    ranks = _divisors(global_batch // micro_batch) if global_batch % micro_batch == 0 else []
    raise UserError(
        f"train.global_batch={global_batch} cannot be divided into micro-batches of "
        f"train.micro_batch={micro_batch} on {world} ranks. "
        f"With {world} ranks, train.micro_batch can be: {_listed(sizes)}. "
        f"With train.micro_batch={micro_batch}, the number of ranks can be: {_listed(ranks)}. "
        f"Or set train.global_batch to a multiple of {micro_batch * world}, or"
        " train.micro_batch_by: tokens, which any number of ranks can divide"
    )


def micro_batch_sizes(global_batch: int, world: int, by: FilledBy) -> Sequence[int]:
    """Micro-batches into which `world` ranks can divide a global batch, the smallest first."""
    if by == "tokens":
        return range(1, ceil(global_batch / world) + 1)
    return _divisors(global_batch // world) if global_batch % world == 0 else []


def _divisors(number: int) -> list[int]:
    small = [size for size in range(1, isqrt(number) + 1) if number % size == 0]
    return sorted({*small, *(number // size for size in small)})


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"


def deal_whole(batches: Sequence[Sequence[int]], rank: int, world: int) -> list[list[int] | None]:
    """One rank's share of whole batches, as many entries for every rank; None: nothing to do."""
    turns = -(-len(batches) // world)
    mine = [list(batch) for batch in batches[rank::world]]
    return [*mine, *[None] * (turns - len(mine))]
