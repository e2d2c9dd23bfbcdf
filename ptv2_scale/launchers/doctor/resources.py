"""Checks of memory, accelerators and limits."""

from __future__ import annotations

from collections.abc import Iterator

from ptv2_scale.launchers.doctor.facts import Facts, Gpu
from ptv2_scale.launchers.doctor.finding import Finding, Survey, amount, hosts_with, named, others

_RANK_MEMORY = 2 << 30  # bytes: a process with PyTorch, DeepSpeed and a tokenised task
_TAKEN = 0.1  # share of an accelerator's memory
_OPEN_FILES = 1024  # a rank's own, its connections and its data
_SHARED_MEMORY = 1 << 30  # bytes: NCCL takes some tens of MB for each pair of ranks
_TEMPORARY = 100 << 20  # bytes


def check_memory(survey: Survey) -> Iterator[Finding]:
    """There is some for each rank."""
    for host, one in survey.facts.items():
        need = survey.slots[host] * _RANK_MEMORY
        if one.memory < need:
            text = f"{host}: {amount(one.memory)} for {survey.slots[host]} ranks"
            mend = (
                "Ranks take about 2 GB each before the model: end other processes, or ask for more."
            )
            yield Finding("memory", "warn", text, mend)
    least = min(survey.facts.items(), key=lambda one: one[1].memory)
    yield Finding("memory", "ok", f"{amount(least[1].memory)} or more can be used ({least[0]})")


def check_gpus(survey: Survey) -> Iterator[Finding]:
    """Each host has one a rank, all alike, none in use."""
    if not any(one.gpus for one in survey.facts.values()):
        yield Finding("accelerators", "note", "none on any host: ranks compute on the CPU")
        return
    for host, one in survey.facts.items():
        yield from _check_count(host, len(one.gpus), survey.slots[host])
        yield from _check_use(host, one.gpus)
    _, odd = others({host: _models(one) for host, one in survey.facts.items()})
    if odd:
        text = "; ".join(
            f"{hosts}: {models}"
            for models, hosts in hosts_with(
                {host: _models(one) for host, one in survey.facts.items()}
            )
        )
        yield Finding("accelerators", "warn", text, "The slowest and smallest one decides.")
    else:
        yield Finding("accelerators", "ok", _models(next(iter(survey.facts.values()))))


def _models(facts: Facts) -> str:
    kinds = [f"{gpu.name} with {amount(gpu.total)}" for gpu in facts.gpus]
    return ", ".join(f"{kinds.count(one)} x {one}" for one in dict.fromkeys(kinds)) or "none"


def _check_count(host: str, found: int, slots: int) -> Iterator[Finding]:
    if found < slots:
        yield Finding(
            "accelerators",
            "FAIL",
            f"{host}: {found} can be seen, for {slots} ranks",
            "Lower its slots, or see there what `nvidia-smi` and CUDA_VISIBLE_DEVICES say.",
        )


def _check_use(host: str, gpus: list[Gpu]) -> Iterator[Finding]:
    for number, gpu in enumerate(gpus):
        if gpu.total - gpu.free > _TAKEN * gpu.total:
            text = f"{host}: {amount(gpu.free)} of {amount(gpu.total)} free on GPU {number}"
            mend = "See there with `nvidia-smi` whose processes take the rest."
            yield Finding("accelerators", "warn", text, mend)


def check_limits(survey: Survey) -> Iterator[Finding]:
    """Of open files, locked memory, shared memory and temporary files."""
    wrong = [(host, *problem) for host, one in survey.facts.items() for problem in _problems(one)]
    for what, mend in dict.fromkeys((what, mend) for _, what, mend in wrong):
        hosts = named(host for host, found, _ in wrong if found == what)
        yield Finding("limits", "warn", f"{hosts}: {what}", mend)
    if not wrong:
        yield Finding("limits", "ok", "open files, locked memory, shared memory, temporary files")


def _problems(facts: Facts) -> Iterator[tuple[str, str]]:
    limits = facts.limits
    if limits.open_files < _OPEN_FILES:
        yield f"{limits.open_files} open files", "Raise it: ulimit -n, or /etc/security/limits.d."
    if limits.infiniband and limits.locked_memory is not None:
        yield (
            f"InfiniBand, but only {amount(limits.locked_memory)} of locked memory",
            "Set memlock to unlimited in /etc/security/limits.d, and for slurmd.",
        )
    if facts.gpus and (limits.shared_memory or 0) < _SHARED_MEMORY:
        yield (
            f"{amount(limits.shared_memory or 0)} of shared memory in /dev/shm",
            "Start containers with --ipc=host or --shm-size=16g.",
        )
    if limits.temporary is None or limits.temporary < _TEMPORARY:
        left = "no room" if limits.temporary is None else amount(limits.temporary)
        yield f"{left} for temporary files", "Make room there, or set TMPDIR."
