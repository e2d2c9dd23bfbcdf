"""The batch script of a Slurm job, as a pure function of what it is to run."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from ptv2_scale.config import Slurm
from ptv2_scale.config.values import seconds
from ptv2_scale.launchers import slurm_text as text
from ptv2_scale.launchers.forwarded_env import Variables
from ptv2_scale.runtime.errors import UserError

_BARE = re.compile(r"[A-Za-z0-9._/%@+:=,-]+", re.ASCII)
_NO_DIRECTIVE = re.compile(r'[\x00-\x1f\x7f"\\]')
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


@dataclass(frozen=True)
class SlurmJob:
    """What a job, or an array of jobs, is to run.

    Attributes:
        settings: what is asked of Slurm.
        run: the run directory; of an array, what the runs' names begin with.
        folder: the working directory.
        train: arguments of `ptv2-scale`, "train" and what follows.
        resume: as the user asked for it; a job that comes back resumes by itself.
        variables: for the ranks' environment.
        trials: of an array, what each job adds to `train`.
        doctor: whether the nodes are checked first.
        python: that ranks run.
    """

    settings: Slurm
    run: Path
    folder: Path
    train: tuple[str, ...]
    resume: str
    variables: Variables
    trials: tuple[tuple[str, ...], ...] = ()
    doctor: bool = False
    python: str = sys.executable

    @property
    def script(self) -> Path:
        """Where the script is kept, beside the run directory."""
        return self._beside(".sbatch")

    @property
    def log(self) -> Path:
        """Where the jobs' output goes, as Slurm's own pattern."""
        path = str(self._beside("")).replace("%", "%%")
        return Path(f"{path}.%A_%a.log" if self.trials else f"{path}.%j.log")

    def shown_log(self, number: str) -> str:
        """The same for people, once the job has a number."""
        named = str(self.log).replace("%A_%a.log", f"{number}_*.log").replace("%j", number)
        return named.replace("%%", "%")

    def _beside(self, ending: str) -> Path:
        path = self.folder / self.run
        return path.with_name(path.name + ending)


def render(job: SlurmJob) -> str:
    """The script that runs a job.

    Raises:
        UserError: a path or a word cannot stand in a script.
    """
    return "\n\n".join(part for part in _parts(job) if part) + "\n"


def _parts(job: SlurmJob) -> Iterator[str]:
    yield "\n".join(["#!/usr/bin/env bash", *_directives(job), text.ABOUT])
    yield text.STOPPING.format(requeues=job.settings.requeues)
    yield "\n".join(_exports(job.variables.shown))
    # What sites have to be run first seldom bears `set -u`.
    yield "\n".join(job.settings.setup)
    yield "set -uo pipefail"
    yield text.MEETING_PLACE
    yield text.RESUME.format(resume=_word(job.resume))
    yield _train(job)
    yield text.doctor(_word(job.python), job.settings.ranks) if job.doctor else ""
    yield _start(job)


def _directives(job: SlurmJob) -> Iterator[str]:
    asked = {
        "job-name": re.sub(r"[^A-Za-z0-9._-]", "_", job.run.name),
        **_resources(job.settings),
        "array": f"0-{len(job.trials) - 1}" if job.trials else None,
        "signal": f"B:USR1@{ceil(seconds(job.settings.warning))}",
        "requeue": "",
        "open-mode": "append",
        "chdir": job.folder,
        "output": job.log,
        "export": ",".join(sorted(map(_name, job.variables.secret))) or "NONE",
    }
    for name, value in asked.items():
        if value is not None:
            yield f"#SBATCH --{name}" + (f"={_directive(str(value))}" if value != "" else "")


def _resources(settings: Slurm) -> dict[str, object]:
    tasks = settings.ranks if settings.launcher == "rank" else 1
    return {
        "nodes": settings.nodes,
        "ntasks-per-node": tasks,
        "gpus-per-node": settings.gpus_per_node,
        "cpus-per-task": _cpus(settings),
        "mem": settings.mem,
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "constraint": settings.constraint,
        "time": settings.time,
    }


def _cpus(settings: Slurm) -> int | None:
    together = 1 if settings.launcher == "rank" else settings.ranks
    return None if settings.cpus_per_task is None else settings.cpus_per_task * together


def _directive(value: str) -> str:
    """A value in a #SBATCH line: sbatch takes all between double quotes as it is."""
    if _NO_DIRECTIVE.search(value):
        raise UserError(
            f"'{value}': Slurm's scripts cannot name a path with quotes, backslashes or control"
            " characters. Choose another folder."
        )
    return value if _BARE.fullmatch(value) else f'"{value}"'


def _exports(shown: Mapping[str, str]) -> list[str]:
    return [f"export {_name(name)}={_word(value)}" for name, value in sorted(shown.items())]


def _name(name: str) -> str:
    if not _IDENTIFIER.fullmatch(name):
        raise UserError(f"the environment variable '{name}': no shell can set that name. Unset it.")
    return name


def _word(word: str) -> str:
    if "\0" in word:
        raise UserError(f"'{word}': no command can take a null byte.")
    return shlex.quote(word)


def _words(words: Iterable[str]) -> str:
    return " ".join(map(_word, words))


def _train(job: SlurmJob) -> str:
    common = f"train=({_words(job.train)})"
    if not job.trials:
        return common
    cases = [f"  {n}) train+=({_words(words)}) ;;" for n, words in enumerate(job.trials)]
    return "\n".join([common, 'case "$SLURM_ARRAY_TASK_ID" in', *cases, "esac"])


def _start(job: SlurmJob) -> str:
    cpus = _cpus(job.settings)
    # srun does not take this one over from sbatch.
    options = "" if cpus is None else f" --cpus-per-task={cpus}"
    python = _word(job.python)
    if job.settings.launcher == "rank":
        return text.RANKS.format(options=options, python=python)
    if job.trials:
        raise UserError("slurm.launcher: node starts one run; an array needs launcher: rank.")
    run = _word(str(job.folder / job.run))
    return text.nodes(job.settings.nodes, job.settings.ranks, options, python, run)
