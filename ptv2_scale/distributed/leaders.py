"""Acting on some ranks for all: whatever goes wrong on one of them, every rank learns of it.

For what touches files that ranks share: without this, a rank that found no mistake would wait for
ever for one that did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ptv2_scale.distributed.ranks import RankContext, gather
from ptv2_scale.runtime.errors import UserError

T = TypeVar("T")
E = TypeVar("E", bound=Exception)


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """How an action ended on one rank.

    Attributes:
        value: the action's result; None where it failed, and on ranks without an action.
        problem: what went wrong; None: nothing.
    """

    value: T | None = None
    problem: str | None = None


def share_outcomes(
    action: Callable[[], T] | None,
    ranks: RankContext,
    expected: type[E],
    describe: Callable[[E], str],
) -> list[Outcome[T]]:
    """Run an action on the ranks that have one; every rank calls it.

    Args:
        action: what this rank does; None: nothing.
        ranks: where this process stands.
        expected: the exceptions that are problems; others are raised where they happen.
        describe: a problem in words, for the other ranks.

    Returns:
        Every rank's outcome, in the order of ranks, on every rank.
    """
    outcome: Outcome[T] = Outcome()
    if action is not None:
        try:
            outcome = Outcome(action())
        except expected as error:
            outcome = Outcome(problem=describe(error))
    return gather(outcome, ranks)


def first_problem(outcomes: Iterable[Outcome[T]]) -> str | None:
    """The problem of the first rank that has one."""
    return next((one.problem for one in outcomes if one.problem is not None), None)


def run_on(
    action: Callable[[], T] | None,
    ranks: RankContext,
    describe: Callable[[UserError], str] = str,
) -> list[T | None]:
    """Run an action on the ranks that have one; every rank calls it.

    Args:
        action: what this rank does; None: nothing.
        ranks: where this process stands.
        describe: the message of this rank's error on all ranks.

    Returns:
        Every rank's result, in the order of ranks, on every rank; None on ranks without an action.

    Raises:
        UserError: on every rank, if it was raised on one.
    """
    outcomes = share_outcomes(action, ranks, UserError, describe)
    problem = first_problem(outcomes)
    if problem is not None:
        raise UserError(problem)
    return [outcome.value for outcome in outcomes]


def on_first_rank(ranks: RankContext, action: Callable[[], T]) -> T:
    """Run an action on rank 0 and give every rank its result; every rank calls it.

    Raises:
        UserError: on every rank, if it was raised on rank 0.
    """
    return run_on(action if ranks.first else None, ranks)[0]  # type: ignore[return-value]
