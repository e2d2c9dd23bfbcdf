"""What a host is and has, as a rank there would find it."""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from ptv2_scale.hub import cached_snapshot
from ptv2_scale.launchers.doctor.contents import facts_of_files, facts_of_path
from ptv2_scale.launchers.doctor.facts import Gpu, HostFacts, HostQuery, RunFolder
from ptv2_scale.launchers.doctor.limits import free_bytes, limits
from ptv2_scale.launchers.doctor.reachability import interface_toward
from ptv2_scale.runtime.launch_context import host_name
from ptv2_scale.runtime.memory import usable_memory
from ptv2_scale.runtime.shared_fs_probe import marked, nearest_folder

OWN_CODE = "ptv2_scale's code"

_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)


def host_facts(query: HostQuery) -> HostFacts:
    """The facts of this host.

    Args:
        query: what is asked.
    """
    return HostFacts(
        machine=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        packages=packages(),
        paths={what: facts_of_path(Path(path)) for what, path in query.paths.items()},
        hub=[None if found is None else found.commit for found in map(cached_snapshot, query.hub)],
        run=None if query.run is None else _run_folder(Path(query.run), query.probe_name),
        memory=usable_memory(),
        gpus=_gpus(),
        interface=interface_toward(query.master, os.environ),
        limits=limits(),
        **_arithmetic(),
    )


def packages() -> dict[str, str]:
    """Versions of what this package needs; a digest stands for its own code."""
    found = {OWN_CODE: _own_code()}
    for text in _requirements():
        name = _REQUIREMENT.match(text)
        if name is not None and "extra ==" not in text:
            found[name[0]] = _version(name[0])
    return found


def _requirements() -> list[str]:
    try:
        return metadata.requires("ptv2_scale") or []
    except metadata.PackageNotFoundError:  # a checkout that PYTHONPATH names
        return []


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _own_code() -> str:
    folder = Path(__file__).parents[2]
    return facts_of_files(folder, sorted(folder.rglob("*.py"))).digest[:12]


def _run_folder(run: Path, probe_name: str) -> RunFolder:
    """Where the run directory would be, and whether it can be written."""
    folder, problem = nearest_folder(run), ""
    try:
        with marked(folder / f"{probe_name}.{host_name()}"):
            pass
    except OSError as error:
        problem = error.strerror or str(error)
    found = os.statvfs(folder)
    return RunFolder(
        str(folder), problem, free_bytes(folder), found.f_favail if found.f_files else None
    )


def _gpus() -> list[Gpu]:
    # Here alone: asked of torch, as ranks ask, and not of a tool that may see other devices.
    import torch

    if not torch.cuda.is_available():
        return []
    return [_gpu(number) for number in range(torch.cuda.device_count())]


def _arithmetic() -> dict[str, Any]:
    # Here alone, as for accelerators: what is measured is PyTorch.
    import torch

    from ptv2_scale.backbones.dtypes import computes_in_bf16, measure_matmul_rates

    torch.set_num_threads(1)  # as ranks are by default
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {"bf16": computes_in_bf16(device), "rates": measure_matmul_rates(device)}


def _gpu(number: int) -> Gpu:
    import torch

    properties = torch.cuda.get_device_properties(number)
    found = Gpu(properties.name, properties.total_memory, 0)
    with suppress(RuntimeError):  # a device that others hold for themselves
        found = replace(found, free=torch.cuda.mem_get_info(number)[0])
    return found
