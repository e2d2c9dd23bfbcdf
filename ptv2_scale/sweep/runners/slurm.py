"""Trials as jobs of Slurm arrays, handed over by `launch` and followed until they have ended.

The state notes the array of a trial before it is submitted, under a name that no other one has. So
a process that takes a trial over finds its job, and none is queued twice.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ptv2_scale.config.load import Setting
from ptv2_scale.launchers.api import launch
from ptv2_scale.launchers.options import LaunchOptions
from ptv2_scale.runtime.atomic import write_atomically
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.exit_codes import DONE, FAILED, INVALID_INPUT
from ptv2_scale.runtime.launch_context import new_name
from ptv2_scale.runtime.status import read_status
from ptv2_scale.sweep.config import Launch
from ptv2_scale.sweep.runners.base import Ended, Runner, is_done, reason_of
from ptv2_scale.sweep.state import Claimed, Ending

_MOST = 1000  # jobs of an array: Slurm's MaxArraySize is 1001 where a site has not set it
_EVERY_S = 2.0
_ANSWER_S = 60.0
_TAIL = 8000  # bytes

Note = Callable[[Claimed, str], None]


@dataclass(frozen=True)
class _Job:
    """A trial's place in an array.

    Attributes:
        array: name of the array's jobs.
        index: of the trial.
    """

    array: str
    index: int


@dataclass
class SlurmArrays(Runner):
    """Trials that Slurm runs.

    Args:
        folder: of the sweep, which keeps the arrays' scripts and logs.
        settings: of the sweep file.
        note: keeps the name of a trial's job in the state.

    Raises:
        UserError: there is no Slurm here.
    """

    folder: Path
    settings: Launch
    note: Note
    at_once: int = 0
    _jobs: dict[int, tuple[Claimed, _Job]] = field(default_factory=dict)
    _over: list[Ended] = field(default_factory=list)
    _asked: float = float("-inf")

    def __post_init__(self) -> None:
        if shutil.which("sbatch") is None or shutil.which("squeue") is None:
            raise UserError("launch.slurm: sbatch is not installed here. Log in to the cluster.")
        self.at_once = min(self.settings.at_once or _MOST, _MOST)

    def start(self, trials: Sequence[Claimed]) -> None:
        """See `Runner`."""
        new: dict[str, list[Claimed]] = {}
        queued = self._queued() if any(trial.job for trial in trials) else set()
        for trial in trials:
            job = None if trial.job is None else _read_job(trial.job)
            if job is not None and (queued is None or job in queued):
                self._jobs[trial.trial] = trial, job
            elif is_done(trial.run) or (job is not None and _has_failed(trial)):
                self._over.append((trial, self._ending(trial, job)))
            else:
                # An array has one recipe, and asks Slurm for the same for all its jobs.
                alike = f"{trial.cell.recipe} {trial.cell.config.slurm!r}"
                new.setdefault(alike, []).append(trial)
        for group in new.values():
            self._submit(group)

    def _submit(self, trials: Sequence[Claimed]) -> None:
        """Submit an array; where one of its runs is refused, the others without it."""
        array = f"sweep-{new_name()}"
        for index, trial in enumerate(trials):
            self.note(trial, f"{array}/{index}")
        try:
            launch(self._options(array, trials))
        except UserError as error:
            if len(trials) == 1:
                reason = str(error).splitlines()[0]
                self._over.append((trials[0], Ending("failed", INVALID_INPUT, reason)))
                return
            half = len(trials) // 2
            self._submit(trials[:half])
            self._submit(trials[half:])
            return
        for index, trial in enumerate(trials):
            self._jobs[trial.trial] = trial, _Job(array, index)

    def _options(self, array: str, trials: Sequence[Claimed]) -> LaunchOptions:
        script = self.folder / "arrays" / array
        script.parent.mkdir(parents=True, exist_ok=True)
        lines = script.with_name(f"{array}.txt")
        write_atomically(lines, "".join(f"{shlex.join(one.overrides)}\n" for one in trials))
        first = trials[0].cell
        asked = first.config.slurm.model_dump(exclude_defaults=True)
        words = [Setting(f"slurm.{key}", value, "").override for key, value in asked.items()]
        words.append(Setting("run", str(script), "").override)
        return LaunchOptions(
            recipe=str(first.recipe),
            overrides=tuple(words),
            resume="auto",
            slurm=True,
            nproc=self.settings.nproc,
            array=lines,
            doctor=self.settings.doctor,
        )

    def ended(self) -> list[Ended]:
        """See `Runner`; Slurm is asked every two seconds."""
        if self._jobs and time.monotonic() - self._asked > _EVERY_S:
            queued = self._queued()
            self._asked = time.monotonic()
            for trial, job in list(self._jobs.values()) if queued is not None else ():
                if job not in (queued or ()):
                    del self._jobs[trial.trial]
                    self._over.append((trial, self._ending(trial, job)))
        found, self._over = self._over, []
        return found

    def prune(self, trial: Claimed) -> None:
        """See `Runner`."""
        raise NotImplementedError("a sweep with pruning is refused before its first trial")

    def stop(self) -> None:
        """See `Runner`; what is in Slurm stays there, and is followed by the next process."""
        self._over += [(trial, Ending("interrupted")) for trial, _ in self._jobs.values()]
        self._jobs.clear()

    def _ending(self, trial: Claimed, job: _Job | None) -> Ending:
        status = read_status(trial.run)
        if is_done(trial.run):
            return Ending("done", DONE)
        if status is not None and status.state == "stopped":  # by scancel
            reason = f"stopped by {status.reason} after step {status.step}"
            return Ending("failed", status.exit_code, reason)
        code = FAILED if status is None or status.exit_code is None else status.exit_code
        missing = "its Slurm job is gone, without a word"
        return Ending("failed", code, reason_of(trial.run, self._said(job) or missing))

    def _said(self, job: _Job | None) -> str:
        """The last error in a job's log."""
        if job is None:
            return ""
        for path in sorted((self.folder / "arrays").glob(f"{job.array}.*_{job.index}.log")):
            lines = path.read_bytes()[-_TAIL:].decode(errors="replace").splitlines()
            own = [line for line in lines if line.startswith("ptv2-scale: ")] or lines
            return own[-1].removeprefix("ptv2-scale: ") if own else ""
        return ""

    def _queued(self) -> set[_Job] | None:
        """Jobs that wait or run; None: Slurm does not answer."""
        command = ["squeue", "--noheader", "--array", "--format=%K %j"]
        try:
            made = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=_ANSWER_S, check=True,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            return None
        return set(_jobs_of(made.stdout))


def _has_failed(trial: Claimed) -> bool:
    status = read_status(trial.run)
    return status is not None and status.state == "failed"


def _jobs_of(text: str) -> Iterator[_Job]:
    for line in text.splitlines():
        index, _, name = line.strip().partition(" ")
        if index.isdecimal() and name.startswith("sweep-"):
            yield _Job(name, int(index))


def _read_job(text: str) -> _Job:
    array, _, index = text.rpartition("/")
    return _Job(array, int(index))
