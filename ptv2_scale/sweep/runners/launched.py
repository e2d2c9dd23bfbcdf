"""Trials on this host, or on hosts of a hostfile: some at a time, each by `launch` in a thread."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from ptv2_scale.checkpoint.run_directory import IN_USE, is_in_use
from ptv2_scale.launchers.api import launch
from ptv2_scale.launchers.devices import count_accelerators, visible_devices
from ptv2_scale.launchers.events import (
    Event,
    HostsChecked,
    HostWarning,
    OutputLine,
    Restarting,
    RunFailed,
    StopRequest,
)
from ptv2_scale.launchers.hostfile import Host, read_hostfile
from ptv2_scale.launchers.options import LaunchOptions
from ptv2_scale.launchers.result import LaunchResult
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.exit_codes import DONE, FAILED, INVALID_INPUT, SAVED
from ptv2_scale.sweep.config import Launch
from ptv2_scale.sweep.runners.base import Ended, Runner, is_done, log_of, reason_of
from ptv2_scale.sweep.state import Claimed, Ending

_POLL_S = 0.2
_BACKOFF_S = 2.0
_ORPHANS_S = 120.0  # for ranks whose sweep was killed: they notice, save and end

# A place where one trial runs at a time: the options that say where.
Place = Callable[[LaunchOptions], LaunchOptions]


@dataclass
class Launched(Runner):
    """Trials that this process launches and supervises.

    Args:
        places: where one trial each can run.
        options: of every launch.
    """

    places: list[Place]
    options: LaunchOptions
    at_once: int = 0
    _running: dict[int, _Job] = field(default_factory=dict)
    _over: queue.SimpleQueue[tuple[Place, Claimed, Ending]] = field(
        default_factory=queue.SimpleQueue
    )
    _stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.at_once = len(self.places)

    def start(self, trials: Sequence[Claimed]) -> None:
        """See `Runner`."""
        for trial in trials:
            place = self.places.pop(0)
            job = _Job(trial, place(self.options), self._stopping)
            self._running[trial.trial] = job
            threading.Thread(target=self._run, args=(place, job), daemon=True).start()

    def _run(self, place: Place, job: _Job) -> None:
        try:
            ending = job.run()
        except UserError as error:
            ending = Ending("failed", INVALID_INPUT, reason_of(job.trial.run, str(error)))
        except Exception as error:  # a thread that says nothing would be waited for for ever
            ending = Ending("failed", FAILED, f"{type(error).__name__}: {error}")
        self._over.put((place, job.trial, ending))

    def ended(self) -> list[Ended]:
        """See `Runner`."""
        found = []
        while not self._over.empty():
            place, trial, ending = self._over.get()
            self.places.append(place)
            del self._running[trial.trial]
            found.append((trial, ending))
        return found

    def stop(self) -> None:
        """See `Runner`."""
        self._stopping.set()
        for job in self._running.values():
            job.stop()

    def prune(self, trial: Claimed) -> None:
        """See `Runner`."""
        job = self._running[trial.trial]
        if not job.pruned.is_set():
            job.pruned.set()
            job.stop()


@dataclass
class _Job:
    """One trial, launched until it has ended."""

    trial: Claimed
    options: LaunchOptions
    stopping: threading.Event
    pruned: threading.Event = field(default_factory=threading.Event)
    stop: StopRequest = field(default_factory=StopRequest)

    def run(self) -> Ending:
        """Launch it, also where it was stopped before.

        Raises:
            UserError: it cannot be launched.
        """
        run = self.trial.run
        run.parent.mkdir(parents=True, exist_ok=True)
        if is_done(run):  # by a process that did not live to note it
            return Ending("done", DONE)
        options = replace(
            self.options, recipe=str(self.trial.cell.recipe), overrides=self.trial.overrides
        )
        with log_of(run).open("a", encoding="utf-8", errors="replace") as log:
            while not self._is_stopped():
                self._await_orphans()
                output = _LaunchOutput(log)
                result = self._launch(options, output)
                if self._is_final(result, output):
                    return _ending(result, output.last)
        return Ending("pruned", SAVED) if self.pruned.is_set() else Ending("interrupted")

    def _is_stopped(self) -> bool:
        return self.stopping.is_set() or self.pruned.is_set()

    def _is_final(self, result: LaunchResult, output: _LaunchOutput) -> bool:
        """Whether a launch has ended the trial; else it was stopped, or came too early."""
        if result.state == "done":
            return True
        stopped = result.state == "stopped" or self._is_stopped()
        return not stopped and IN_USE not in output.last

    def _launch(self, options: LaunchOptions, output: _LaunchOutput) -> LaunchResult:
        try:
            return launch(options, output, self.stop)
        except UserError as error:
            output.write(f"ptv2-scale: {error}\n")
            raise

    def _await_orphans(self) -> None:
        """Wait for ranks of a sweep process that was killed."""
        until = time.monotonic() + _ORPHANS_S
        while is_in_use(self.trial.run) and not self._is_stopped():
            if time.monotonic() > until:
                raise UserError(
                    f"{self.trial.run}: another process still runs there. Stop it, and try again."
                )
            time.sleep(_POLL_S)


@dataclass
class _LaunchOutput:
    """What a launch says: all in a log, and its last error."""

    log: IO[str]
    last: str = ""

    def __call__(self, event: Event) -> None:
        """Take an event of the launch."""
        if isinstance(event, OutputLine):
            self.write(event.text)
            if event.text.startswith("ptv2-scale: "):
                self.last = event.text.removeprefix("ptv2-scale: ")
        elif isinstance(event, HostWarning):
            self.write(f"{event.host}: {event.text}\n")
        elif isinstance(event, HostsChecked):
            self.write(f"{event.text}\n")
        elif isinstance(event, Restarting | RunFailed):
            self.write(f"the run failed after step {event.step}\n{event.reason}\n")

    def write(self, text: str) -> None:
        """Add to the log."""
        self.log.write(text)
        self.log.flush()


def _ending(result: LaunchResult, said: str) -> Ending:
    if result.exit_code == DONE:
        return Ending("done", DONE)
    reason = reason_of(result.run_directory, result.reason or said)
    return Ending("failed", result.exit_code, reason)


def on_this_host(settings: Launch) -> Launched:
    """Some trials at a time on this host, its accelerators dealt out among them.

    Raises:
        UserError: CUDA_VISIBLE_DEVICES names a device twice.
    """
    at_once = settings.at_once or 1
    devices, nproc = _devices(), ranks_here(settings)
    return Launched([_on_devices(devices, nproc, slot) for slot in range(at_once)],
                    _options(settings))  # fmt: skip


def ranks_here(settings: Launch) -> int:
    """Ranks of a trial on this host.

    Raises:
        UserError: see `on_this_host`.
    """
    return settings.nproc or max(1, len(_devices()) // (settings.at_once or 1))


def _devices() -> tuple[str, ...]:
    """This host's accelerators, as CUDA_VISIBLE_DEVICES has them; none on a CPU."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if os.environ.get("DS_ACCELERATOR") == "cpu":
        return ()
    if chosen is not None:
        return visible_devices(chosen)
    count = count_accelerators()
    return tuple(map(str, range(count))) if count > 1 else ()


def _on_devices(devices: tuple[str, ...], nproc: int, slot: int) -> Place:
    # Where trials want more devices than there are, they share them.
    own = (
        [devices[(slot * nproc + rank) % len(devices)] for rank in range(nproc)] if devices else []
    )
    shown = ",".join(dict.fromkeys(own)) if len(set(own)) == nproc else None
    return lambda options: replace(options, nproc=nproc, devices=shown)


def on_hostfile(settings: Launch, folder: Path) -> Launched:
    """Trials on the hosts of a hostfile, each on as many as the sweep file says.

    Args:
        settings: of the sweep file.
        folder: of the sweep, where each place's own hostfile is kept.

    Raises:
        UserError: the hostfile is wrong, or has too few hosts.
    """
    assert settings.hostfile is not None
    hosts, each = read_hostfile(Path(settings.hostfile)), settings.hosts
    room = len(hosts) // each
    if room < 1:
        raise UserError(f"{settings.hostfile}: {len(hosts)} hosts, and launch.hosts is {each}.")
    count = min(room, settings.at_once or room)
    places = [
        _on_hosts(hosts[slot * each : (slot + 1) * each], folder, slot) for slot in range(count)
    ]
    return Launched(places, _options(settings))


def _on_hosts(hosts: Sequence[Host], folder: Path, slot: int) -> Place:
    path = folder / ".hosts" / str(slot)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{host.name} slots={host.slots}\n" for host in hosts))
    return lambda options: replace(options, hostfile=path)


def _options(settings: Launch) -> LaunchOptions:
    return LaunchOptions(
        recipe="",
        resume="auto",
        ssh_config=None if settings.ssh_config is None else Path(settings.ssh_config),
        max_restarts=settings.max_restarts,
        backoff=_BACKOFF_S,
        doctor=settings.doctor,
    )
