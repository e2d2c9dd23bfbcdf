"""Which rank is at fault, from what was seen of all of them."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field, replace
from enum import IntEnum

from ptv2_scale.runtime.errors import UserError

# What a rank's death does to the others may be noticed before the death itself.
EVIDENCE_S = 1.5
FAILED = 3  # exit code
REFUSED = 2

_COLLECTIVES = ("torch/distributed", "deepspeed/comm", "zero/partition")


class Kind(IntEnum):
    """What went wrong; of several, the lowest is the cause and the others follow from it."""

    DIED = 0
    MISTAKE = 1
    RAISED = 2
    SILENT = 3
    RAISED_WAITING = 4
    STALLED = 5


@dataclass(frozen=True)
class Member:
    """A rank as the others know it.

    Attributes:
        rank: its number.
        host: name of its host.
        pid: its process there.
        identity: of the host, see `host_identity`.
        stack_file: descriptor that its stack is written to on request.
    """

    rank: int
    host: str = "?"
    pid: int = 0
    identity: str = ""
    stack_file: int = -1


@dataclass(frozen=True)
class Fault:
    """Something seen of a rank.

    Attributes:
        kind: of fault.
        rank: whose.
        text: traceback, stack or message.
    """

    kind: Kind
    rank: int
    text: str = ""

    @property
    def code(self) -> int:
        """Exit code of the run."""
        return REFUSED if self.kind is Kind.MISTAKE else FAILED

    @classmethod
    def of(cls, rank: int, error: BaseException) -> Fault:
        """The fault that an exception is."""
        if isinstance(error, UserError):
            return cls(Kind.MISTAKE, rank, str(error))
        last = traceback.extract_tb(error.__traceback__)[-3:]
        kind = Kind.RAISED_WAITING if _waits(frame.filename for frame in last) else Kind.RAISED
        return cls(kind, rank, "".join(traceback.format_exception(error)).rstrip())


def _waits(files: object) -> bool:
    return any(part in name for name in files for part in _COLLECTIVES)  # type: ignore[attr-defined]


def waits_in_collective(stack: str) -> bool:
    """Whether a stack, innermost call last, ends in a collective."""
    return _waits(line for line in stack.splitlines()[-6:] if "File " in line)


@dataclass
class Seen:
    """What was last heard of a rank."""

    member: Member
    heard: float
    count: int = 0
    where: str = "starting"
    gone: bool = False


@dataclass
class Roll:
    """All ranks that this one listens to, and the evidence against any rank.

    Attributes:
        silence: seconds without a word until a rank counts as lost.
        stall: seconds without progress of any rank until the run counts as stalled.
        now: the clock at the start.
    """

    silence: float
    stall: float
    now: float
    seen: dict[int, Seen] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    _first_fault: float = 0.0
    _moved: float = 0.0

    def __post_init__(self) -> None:
        self._moved = self.now

    def expect(self, member: Member) -> None:
        """Listen to a rank from now on."""
        self.seen[member.rank] = Seen(member, self.now)

    def heard(self, rank: int, count: int, where: str) -> None:
        """A rank is alive, and has got so far."""
        seen = self.seen[rank]
        if count != seen.count:
            self._moved = self.now
        seen.heard, seen.count, seen.where = self.now, count, where

    def left(self, rank: int) -> None:
        """A rank has ended as it should."""
        self.seen[rank].gone = True

    def blame(self, fault: Fault) -> None:
        """Take evidence in."""
        if not self.faults:
            self._first_fault = self.now
        self.faults.append(fault)

    def tick(self, now: float) -> None:
        """Let time pass, and blame ranks that have been silent for too long."""
        if now - self.now > self.silence / 2:
            # This process was the one that slept: what it did not hear proves nothing.
            for seen in self.seen.values():
                seen.heard = now
            self._moved = now
        self.now = now
        for rank, seen in self.seen.items():
            if not seen.gone and now - seen.heard > self.silence:
                seen.gone = True
                self.blame(Fault(Kind.SILENT, rank))

    def stalled(self) -> bool:
        """Whether no rank has got any further for too long."""
        return self.now - self._moved > self.stall

    def verdict(self) -> Fault | None:
        """The cause, once there was time for all evidence to arrive."""
        if not self.faults or self.now - self._first_fault < EVIDENCE_S:
            return None
        return min(self.faults, key=lambda fault: (fault.kind, fault.rank))

    def describe(self, fault: Fault) -> str:
        """One message for people."""
        seen = self.seen.get(fault.rank) or Seen(Member(fault.rank), 0.0)
        who = f"rank {fault.rank} on {seen.member.host}"
        if fault.kind is Kind.MISTAKE:
            return fault.text if fault.rank == 0 else f"{who}: {fault.text}"
        what = {
            Kind.DIED: "was killed or crashed",
            Kind.SILENT: f"has not answered for {self.silence:g} s",
            Kind.STALLED: f"has got no further for {self.stall:g} s",
        }.get(fault.kind, "failed")
        shown = f":\n{fault.text}" if fault.text else "."
        return f"{who} {what}, at {seen.where}{shown}"


def with_text(fault: Fault, text: str) -> Fault:
    """The fault with a stack to it."""
    return replace(fault, text=text)
