"""Checks of memory, accelerators and limits."""

from __future__ import annotations

from collections.abc import Iterator

from ptv2_scale.launchers.doctor.facts import Gpu, HostFacts
from ptv2_scale.launchers.doctor.finding import (
    Finding,
    HostProblem,
    SurveyResult,
    amount,
    findings,
    hosts_with,
    named,
)

_RANK_MEMORY = 2 << 30  # bytes: a process with PyTorch, DeepSpeed and a tokenised task
_TAKEN = 0.1  # share of an accelerator's memory
_OPEN_FILES = 1024  # a rank's own, its connections and its data
_SHARED_MEMORY = 1 << 30  # bytes: NCCL takes some tens of MB for each pair of ranks
_TEMPORARY = 100 << 20  # bytes

_MEMORY = "Ranks take about 2 GB each before the model: end other processes, or ask for more."
_SLOW = "Set backbone.dtype to fp32."
_FEW_GPUS = "Lower its slots, or see there what `nvidia-smi` and CUDA_VISIBLE_DEVICES say."


def check_memory(survey: SurveyResult) -> Iterator[Finding]:
    """There is some for each rank."""
    yield from findings(
        "memory",
        (
            (
                host,
                HostProblem(
                    "warn", f"{amount(one.memory)} for {survey.slots[host]} ranks", _MEMORY
                ),
            )
            for host, one in survey.facts.items()
            if one.memory < survey.slots[host] * _RANK_MEMORY
        ),
    )
    host, least = min(survey.facts.items(), key=lambda one: one[1].memory)
    yield Finding("memory", "ok", f"{amount(least.memory)} or more can be used, least on {host}")


def check_gpus(survey: SurveyResult) -> Iterator[Finding]:
    """Each host has one a rank, all alike, none in use."""
    if not any(one.gpus for one in survey.facts.values()):
        yield Finding("accelerators", "note", "none on any host: ranks compute on the CPU")
        return
    yield from findings(
        "accelerators",
        (
            (host, problem)
            for host, one in survey.facts.items()
            for problem in _gpu_problems(one.gpus, survey.slots[host])
        ),
    )
    models = {host: _models(one.gpus) for host, one in survey.facts.items()}
    kinds = [f"{one} ({hosts})" for one, hosts in hosts_with(models)]
    if len(kinds) > 1:
        fix = "All ranks wait for the slowest, and the smallest must hold its share."
        yield Finding("accelerators", "warn", "; ".join(kinds), fix)
    else:
        yield Finding("accelerators", "ok", kinds[0])


def _models(gpus: list[Gpu]) -> str:
    kinds = [f"{gpu.name} with {amount(gpu.total)}" for gpu in gpus]
    return ", ".join(f"{kinds.count(one)} x {one}" for one in dict.fromkeys(kinds)) or "none"


def _gpu_problems(gpus: list[Gpu], slots: int) -> Iterator[HostProblem]:
    if len(gpus) < slots:
        yield HostProblem("FAIL", f"{len(gpus)} can be seen, for {slots} ranks", _FEW_GPUS)
    for number, gpu in enumerate(gpus):
        if gpu.total - gpu.free > _TAKEN * gpu.total:
            text = f"{amount(gpu.free)} of {amount(gpu.total)} free on GPU {number}"
            yield HostProblem("warn", text, "See there with `nvidia-smi` who takes the rest.")


def check_dtype(survey: SurveyResult) -> Iterator[Finding]:
    """The number format that ranks compute in is none that their devices take apart."""
    if survey.dtype is None:
        return
    able = {host: one.bf16 for host, one in survey.facts.items()}
    dtype, why = survey.dtype, ""
    if dtype == "auto":
        dtype, why = ("bf16" if all(able.values()) else "fp32"), " (auto)"
    slow = {host: one.rates.slowness(dtype) for host, one in survey.facts.items()}
    problems = [(host, HostProblem("warn", text, _SLOW)) for host, text in slow.items() if text]
    yield from findings("dtype", problems)
    if why and len(set(able.values())) > 1:
        without = named(host for host, one in able.items() if not one)
        yield Finding("dtype", "note", f"{without}: no units for bf16, so all ranks take fp32")
    elif not problems:
        yield Finding("dtype", "ok", f"{dtype}{why}")


def check_limits(survey: SurveyResult) -> Iterator[Finding]:
    """Of open files, locked memory, shared memory and temporary files."""
    problems = [(host, one) for host, facts in survey.facts.items() for one in _problems(facts)]
    yield from findings("limits", problems)
    if not problems:
        yield Finding("limits", "ok", "open files, locked memory, shared memory, temporary files")


def _problems(facts: HostFacts) -> Iterator[HostProblem]:
    limits = facts.limits
    if limits.open_files < _OPEN_FILES:
        fix = "Raise it: ulimit -n, or /etc/security/limits.d."
        yield HostProblem("warn", f"{limits.open_files} open files", fix)
    if limits.infiniband and limits.locked_memory is not None:
        text = f"InfiniBand, but only {amount(limits.locked_memory)} of locked memory"
        fix = "Set memlock to unlimited in /etc/security/limits.d, and for slurmd."
        yield HostProblem("warn", text, fix)
    if facts.gpus and (limits.shared_memory or 0) < _SHARED_MEMORY:
        text = f"{amount(limits.shared_memory or 0)} of shared memory in /dev/shm"
        yield HostProblem("warn", text, "Start containers with --ipc=host or --shm-size=16g.")
    if limits.temporary is None or limits.temporary < _TEMPORARY:
        left = "no room" if limits.temporary is None else amount(limits.temporary)
        yield HostProblem("warn", f"{left} for temporary files", "Make room there, or set TMPDIR.")
