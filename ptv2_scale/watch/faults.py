"""Which rank is at fault, from what is known of all of them."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field, replace
from enum import IntEnum

from ptv2_scale.runtime import heartbeat
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.exit_codes import FAILED, INVALID_INPUT

# What a rank's death does to the others may be noticed before the death itself.
EVIDENCE_S = 1.5

_COLLECTIVES = ("torch/distributed", "deepspeed/comm", "zero/partition")


class FaultKind(IntEnum):
    """What went wrong; of several, the lowest is the cause and the others follow from it."""

    DIED = 0
    MISTAKE = 1
    RAISED = 2
    SILENT = 3
    RAISED_WAITING = 4
    STALLED = 5


class FailedElsewhere(Exception):  # noqa: N818 - of another rank, which says it
    """Another rank has failed before all had met.

    Args:
        rank: that rank.
        code: the exit code of the run.
    """

    def __init__(self, rank: int, code: int) -> None:
        super().__init__(f"rank {rank} has failed")
        self.code = code


class RankLostError(Exception):
    """A rank was killed or crashed before all had met.

    Args:
        rank: that rank.
    """

    def __init__(self, rank: int) -> None:
        super().__init__(f"rank {rank} was killed or crashed before all ranks had met.")


@dataclass(frozen=True)
class Member:
    """A rank as the others know it.

    Attributes:
        rank: its number.
        host: the name of its host.
        pid: the number of its process there.
        identity: the host's identity, see `host_identity`.
        stack_file: the descriptor that its stack is written to on request.
    """

    rank: int
    host: str = "?"
    pid: int = 0
    identity: str = ""
    stack_file: int = -1


@dataclass(frozen=True)
class Fault:
    """Evidence against a rank.

    Attributes:
        kind: what went wrong.
        rank: the rank that it was seen of.
        text: traceback, stack or message, if there is one.
    """

    kind: FaultKind
    rank: int
    text: str = ""

    @property
    def code(self) -> int:
        """The exit code of the run."""
        return INVALID_INPUT if self.kind is FaultKind.MISTAKE else FAILED

    @classmethod
    def of(cls, rank: int, error: BaseException) -> Fault:
        """The fault that an exception stands for."""
        if isinstance(error, UserError):
            return cls(FaultKind.MISTAKE, rank, str(error))
        if isinstance(error, RankLostError):
            return cls(FaultKind.RAISED, rank, str(error))
        last = traceback.extract_tb(error.__traceback__)[-3:]
        kind = (
            FaultKind.RAISED_WAITING
            if _waits(frame.filename for frame in last)
            else FaultKind.RAISED
        )
        return cls(kind, rank, "".join(traceback.format_exception(error)).rstrip())


def _waits(files: object) -> bool:
    return any(part in name for name in files for part in _COLLECTIVES)  # type: ignore[attr-defined]


def waits_in_collective(stack: str) -> bool:
    """Whether a stack, innermost call last, ends in a collective."""
    return _waits(line for line in stack.splitlines()[-6:] if "File " in line)


@dataclass
class RankState:
    """What is known of a rank.

    Attributes:
        member: the rank as it introduced itself.
        last_heard: the time of its last heartbeat, by the clock of `Membership`.
        count: pieces of work it has reported.
        where: the piece it is at, in words.
        ended: whether it has ended, as it should or not.
    """

    member: Member
    last_heard: float
    count: int = 0
    where: str = "starting"
    ended: bool = False


@dataclass
class Membership:
    """The ranks whose heartbeats this one receives, and the evidence against any rank.

    Attributes:
        silence: seconds without a heartbeat until a rank counts as lost.
        stall: seconds without progress of any rank until the run counts as stalled.
        now: the time of the last tick, in seconds of a clock that only goes forward.
        states: what is known of each rank.
        faults: the evidence, oldest first.
    """

    silence: float
    stall: float
    now: float
    states: dict[int, RankState] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    _first_fault: float = 0.0
    _last_progress: float = 0.0

    def __post_init__(self) -> None:
        self._last_progress = self.now

    def add(self, member: Member) -> None:
        """Expect heartbeats of a rank from now on."""
        self.states[member.rank] = RankState(member, self.now)

    def update(self, rank: int, count: int, where: str) -> None:
        """Take a rank's heartbeat in.

        Args:
            rank: the rank it came from.
            count: pieces of work it has reported so far.
            where: the piece it is at, in words.
        """
        state = self.states[rank]
        if count != state.count:
            self._last_progress = self.now
        state.last_heard, state.count, state.where = self.now, count, where

    def mark_ended(self, rank: int) -> None:
        """Expect no more heartbeats of a rank."""
        self.states[rank].ended = True

    def report_fault(self, fault: Fault) -> None:
        """Take evidence against a rank in."""
        if not self.faults:
            self._first_fault = self.now
        self.faults.append(fault)

    def tick(self, now: float) -> None:
        """Let time pass, and report ranks that have been silent for too long."""
        if now - self.now > self.silence / 2:
            # This process was the one that slept: what it did not hear proves nothing.
            for state in self.states.values():
                state.last_heard = now
            self._last_progress = now
        self.now = now
        for rank, state in self.states.items():
            if not state.ended and now - state.last_heard > self.silence:
                state.ended = True
                self.report_fault(Fault(FaultKind.SILENT, rank))

    def stalled(self) -> bool:
        """Whether no rank has got any further for too long.

        Opening files takes as long as it takes: nobody counts before the first piece of work.
        """
        begun = any(state.count for state in self.states.values())
        return begun and self.now - self._last_progress > self.stall

    def cause(self) -> Fault | None:
        """The cause, once there was time for all evidence to arrive."""
        if not self.faults or self.now - self._first_fault < EVIDENCE_S:
            return None
        return min(self.faults, key=lambda fault: (fault.kind, fault.rank))

    def describe(self, fault: Fault) -> str:
        """A fault as one message for people."""
        state = self.states.get(fault.rank) or RankState(Member(fault.rank), 0.0)
        who = f"rank {fault.rank} on {state.member.host}"
        if fault.kind is FaultKind.MISTAKE:
            return fault.text if fault.rank == 0 else f"{who}: {fault.text}"
        what = {
            FaultKind.DIED: "was killed or crashed",
            FaultKind.SILENT: f"has not answered for {self.silence:g} s",
            FaultKind.STALLED: f"has got no further for {self.stall:g} s",
        }.get(fault.kind, "failed")
        shown = f":\n{fault.text}" if fault.text else "."
        where = f"at {state.where}"
        if fault.kind is FaultKind.DIED:  # what was last heard of it may be old; ranks go abreast
            where = f"while the others were at {heartbeat.current().where}"
        return f"{who} {what}, {where}{shown}"


def with_text(fault: Fault, text: str) -> Fault:
    """The fault with a stack or a message added."""
    return replace(fault, text=text)
