"""Bytes of tensors that are alive while code runs, also where they are on the meta device."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the storages that operators make inside, until nothing refers to them.

    A tensor on the meta device has a size and no memory, so that a forward and a backward pass of
    any model are counted in seconds. What autograd keeps counts as it does in a real pass.

    Args:
        known: tensors that are not counted: parameters.

    Attributes:
        now: bytes that are alive.
        peak: the most that were alive at once.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known = [one.untyped_storage() for one in known]
        self._alive: dict[int, object] = {one._cdata: one for one in self._known}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operator, and count what it makes."""
        made = func(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            if isinstance(one, Tensor):
                self._count(one.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive:
            return
        self._alive[key] = weakref.finalize(storage, self._forget, key, size)
        self.now += size
        self.peak = max(self.peak, self.now)

    def _forget(self, key: int, size: int) -> None:
        del self._alive[key]
        self.now -= size

    def close(self) -> None:
        """Count no more; what is still alive may outlive this object."""
        for one in self._alive.values():
            if isinstance(one, weakref.finalize):
                one.detach()
