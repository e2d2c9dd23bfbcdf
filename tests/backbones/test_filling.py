"""Parameters filled by several threads: order, bounded pieces, bounded memory, errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor, nn

from ptv2_scale.backbones.filling import Unfilled, fill_in_order
from ptv2_scale.runtime import pieces

PIECE, COUNT = 100, 6


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", PIECE)


def unfilled(number: int) -> Unfilled:
    """A parameter of which the elements 50..300 and the first three are wanted."""
    whole = torch.zeros(400)
    targets = [(50, whole[50:300]), (0, whole[:3])]
    return Unfilled([f"p{number}"], nn.Parameter(whole, requires_grad=False), targets)


def places(names: Sequence[str], start: int, target: Tensor) -> None:
    """Each element gets its own place."""
    assert target.numel() <= PIECE
    target.copy_(torch.arange(start, start + target.numel()))


@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_all_are_filled_in_order_and_few_are_allocated_ahead(at_once: int) -> None:
    allocated: list[int] = []

    def parameters() -> Iterator[Unfilled]:
        for number in range(COUNT):
            allocated.append(number)
            yield unfilled(number)

    for number, one in enumerate(fill_in_order(parameters(), places, at_once)):
        assert one.names == [f"p{number}"]
        assert len(allocated) <= number + at_once
        expected = torch.arange(400.0)
        expected[3:50], expected[300:] = 0, 0
        assert torch.equal(one.parameter, expected)
    assert len(allocated) == COUNT


def test_several_threads_fill_at_the_same_time() -> None:
    """Neither of two pieces is done before the other has begun."""
    both = threading.Barrier(2, timeout=30)

    def fill(names: Sequence[str], start: int, target: Tensor) -> None:
        both.wait()

    one = Unfilled(["a"], nn.Parameter(torch.zeros(200)), [(0, torch.zeros(2 * PIECE))])
    assert list(fill_in_order([one], fill, 1)) == [one]


def test_what_a_thread_raises_ends_it_all() -> None:
    asked: list[str] = []

    def fill(names: Sequence[str], start: int, target: Tensor) -> None:
        asked.append(names[0])
        raise ValueError(f"{names[0]} is damaged")

    with pytest.raises(ValueError, match="p0 is damaged"):
        list(fill_in_order(map(unfilled, range(1000)), fill, 2))
    assert len(asked) <= 8  # the pieces of two parameters


def test_tensors_of_inference_mode_can_be_filled() -> None:
    with torch.inference_mode():
        [one] = fill_in_order([unfilled(0)], places, 1)
    assert one.parameter[299] == 299
