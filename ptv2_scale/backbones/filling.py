"""Parameters filled by several threads at once, in order, while the next ones get their memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ptv2_scale.runtime.pieces import ranges

# (names of a parameter, first element to copy, flat target) -> None
Fill = Callable[[Sequence[str], int, Tensor], None]

# Enough to keep a disk or a network busy; more would only take turns on a host's processors.
_THREADS = 4


@dataclass(frozen=True)
class Unfilled:
    """A parameter with memory, and what of it is to be filled.

    Attributes:
        names: names that the parameter goes by.
        parameter: the parameter.
        targets: first element and flat memory of each range that this rank holds.
    """

    names: Sequence[str]
    parameter: nn.Parameter
    targets: Sequence[tuple[int, Tensor]]

    @property
    def nbytes(self) -> int:
        """Bytes to be filled."""
        return sum(target.nbytes for _, target in self.targets)


def fill_in_order(parameters: Iterable[Unfilled], fill: Fill, at_once: int) -> Iterator[Unfilled]:
    """Fill parameters in pieces, several at a time, and yield each when it is complete.

    Args:
        parameters: taken one by one, no more than `at_once` ahead of the one that is yielded.
        fill: called by several threads; what it raises is raised here.
        at_once: parameters that may be incomplete at the same time.

    Yields:
        The parameters in their order.
    """
    waiting: deque[tuple[Unfilled, list[Future[None]]]] = deque()
    inference = torch.is_inference_mode_enabled()  # each thread has its own mode

    def run(names: Sequence[str], start: int, target: Tensor) -> None:
        with torch.inference_mode(inference):
            fill(names, start, target)

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="fill") as pool:
        try:
            for one in parameters:
                jobs = [pool.submit(run, one.names, *piece) for piece in _pieces(one)]
                waiting.append((one, jobs))
                if len(waiting) >= at_once:
                    yield _complete(*waiting.popleft())
            while waiting:
                yield _complete(*waiting.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _pieces(one: Unfilled) -> Iterator[tuple[int, Tensor]]:
    for start, target in one.targets:
        for low, high in ranges(0, target.numel()):
            yield start + low, target[low:high]


def _complete(one: Unfilled, jobs: Iterable[Future[None]]) -> Unfilled:
    for job in jobs:
        job.result()
    return one
