"""Whether to start a run again after it has failed, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LONGEST_WAIT_S = 300.0


@dataclass(frozen=True)
class Again:
    """Start again.

    Attributes:
        wait: seconds until then.
    """

    wait: float


@dataclass(frozen=True)
class GiveUp:
    """Do not.

    Attributes:
        reason: why.
    """

    reason: str


def after_failures(steps: Sequence[int], most: int, wait: float) -> Again | GiveUp:
    """What to do after a failure.

    Args:
        steps: for each failure so far, how many steps had been made.
        most: restarts that are allowed.
        wait: seconds before the first restart; each further one waits twice as long.
    """
    if len(steps) > most:
        return GiveUp(f"{most} restarts were allowed" if most else "no restarts were asked for")
    if len(steps) > 1 and steps[-1] == steps[-2]:
        return GiveUp(f"it failed twice after step {steps[-1]}, so it will again")
    return Again(min(wait * 2 ** (len(steps) - 1), LONGEST_WAIT_S))


def resume_of(asked: str, environ: Mapping[str, str]) -> str:
    """What `--resume` means to a rank that torchrun may have started again after a failure.

    Args:
        asked: "auto", "never" or a checkpoint.
        environ: of this process.
    """
    again = environ.get("TORCHELASTIC_RESTART_COUNT", "0") not in ("", "0")
    return "auto" if again and asked == "never" else asked
