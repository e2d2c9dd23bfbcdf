"""What a method has bound for the forward pass under way: found again by functions far below.

Bound, not stored on the backbone's modules: two forward passes with different methods may precede
one backward pass, and several models may share one backbone object.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, Token
from types import TracebackType

_bound: ContextVar[object | None] = ContextVar("ptv2_scale_bound", default=None)
_right_padded: ContextVar[bool] = ContextVar("ptv2_scale_right_padded", default=False)


class bind(AbstractContextManager[None]):  # noqa: N801 - used as a statement: `with bind(prefix):`
    """Bind something for the forward passes inside; may be entered again after it was left."""

    def __init__(self, value: object | None) -> None:
        self._value = value
        self._token: Token[object | None] | None = None

    def __enter__(self) -> None:
        self._token = _bound.set(self._value)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._token is not None
        _bound.reset(self._token)


def bound_value() -> object | None:
    """What is bound for this forward pass; None: nothing."""
    return _bound.get()


def checkpoint_contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """`context_fn` of `torch.utils.checkpoint`: recomputation binds what the forward pass had."""
    return nullcontext(), bind(_bound.get())


@contextmanager
def bind_right_padded(known: bool) -> Iterator[None]:
    """Say of the forward passes inside whether texts are known to be padded on the right alone.

    To look at a mask on a GPU is to wait for all that the GPU has to do.
    """
    token = _right_padded.set(known)
    try:
        yield
    finally:
        _right_padded.reset(token)


def is_right_padded() -> bool:
    """Whether all padding of this forward pass is known to stand behind its texts."""
    return _right_padded.get()
