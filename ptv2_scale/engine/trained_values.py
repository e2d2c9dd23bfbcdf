"""What is trained, read by the first rank from all ranks that hold it, a range at a time.

Rank 0 asks for ranges of tensors, in whatever order it writes them; the other ranks give what they
hold until it has done. So a tensor of any size is exported without being whole on any rank.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed
from torch import Tensor

from ptv2_scale.backbones.weights import TensorFile
from ptv2_scale.distributed.leaders import on_first_rank
from ptv2_scale.distributed.ranks import RankContext, gather
from ptv2_scale.engine.state import local_shards, shape_of
from ptv2_scale.runtime.heartbeat import report_progress

T = TypeVar("T")

_DONE = -1


def read_on_first_rank(engine: Any, ranks: RankContext, action: Callable[[TensorFile], T]) -> T:
    """Run an action on rank 0 that reads what is trained; every rank calls it.

    Args:
        engine: DeepSpeed's, with a `PromptedModel`.
        ranks: where this process stands.
        action: gets the fp32 master values of every trained tensor by name, readable until the
            action returns; what it asks for at once is in the memory of every rank.

    Returns:
        The action's result, on every rank.

    Raises:
        UserError: on every rank, if the action raises it.
    """
    values = _TrainedValues(engine, ranks)

    def act() -> T:
        try:
            return action(values)
        finally:
            values.finish()

    if not ranks.first:
        values.serve()
    return on_first_rank(ranks, act)


class _TrainedValues:
    """A `TensorFile` on rank 0; the other ranks `serve` it.

    Args:
        engine: DeepSpeed's.
        ranks: where this process stands.
    """

    def __init__(self, engine: Any, ranks: RankContext) -> None:
        self._ranks, self._device = ranks, engine.device
        trained = engine.module.trained().items()
        self._shapes = {name: shape_of(parameter) for name, parameter in trained}
        self._own = {shard.name: shard for shard in local_shards(engine)}
        held = {
            name: (shard.start, shard.start + shard.values["fp32"].numel())
            for name, shard in self._own.items()
        }
        self._held = gather(held, ranks)

    def names(self) -> list[str]:
        """See `TensorFile`."""
        return list(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        """See `TensorFile`."""
        return self._shapes[name]

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """See `TensorFile`; fp32, on the CPU."""
        self._exchange(self.names().index(name), start, stop)
        return self._collect(name, start, stop).cpu()

    def serve(self) -> None:
        """Give rank 0 what it asks for, until it has done."""
        names = self.names()
        while True:
            number, start, stop = self._exchange(_DONE, 0, 0)
            if number == _DONE:
                return
            self._collect(names[number], start, stop)

    def finish(self) -> None:
        """Release the other ranks."""
        self._exchange(_DONE, 0, 0)

    def _exchange(self, *request: int) -> tuple[int, int, int]:
        """Rank 0's request, on every rank."""
        sent = torch.tensor(request, dtype=torch.int64, device=self._device)
        torch.distributed.broadcast(sent, src=0)
        number, start, stop = sent.tolist()
        return number, start, stop

    def _collect(self, name: str, start: int, stop: int) -> Tensor:
        """Elements start..stop of a tensor, from the ranks that hold them."""
        report_progress(f"reading {name} from the ranks")
        values, covered = torch.empty(stop - start, device=self._device), 0
        for rank, held in enumerate(self._held):
            first, end = held.get(name, (0, 0))
            low, high = max(start, first), min(stop, end)
            if low < high:
                self._send(name, rank, low, values[low - start : high - start])
                covered += high - low
        if covered != stop - start:
            raise RuntimeError(f"{name}: {stop - start - covered} elements are on no rank")
        return values

    def _send(self, name: str, rank: int, start: int, piece: Tensor) -> None:
        if rank == self._ranks.rank:
            shard = self._own[name]
            at = start - shard.start
            piece.copy_(shard.values["fp32"][at : at + piece.numel()])
        torch.distributed.broadcast(piece, src=rank)
