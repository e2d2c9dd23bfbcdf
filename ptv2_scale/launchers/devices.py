"""The accelerators of this host."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ptv2_scale.runtime.errors import UserError

# All of a list are of the first one's kind.
_WORDS = tuple(re.compile(one, re.ASCII) for one in (r"[0-9]+", r"GPU-.*", r"MIG-.*"))


def count_accelerators() -> int:
    """Accelerators of this host; 1 where there is none, for its CPU."""
    import torch

    return torch.accelerator.device_count() or 1


def shown_devices(environ: Mapping[str, str], slots: int) -> tuple[str, ...] | None:
    """The accelerators that the user has chosen for this host; None: no choice was made.

    Args:
        environ: environment of the launch.
        slots: ranks of this host.

    Raises:
        UserError: they are too few, or one is named twice.
    """
    chosen = environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None or environ.get("DS_ACCELERATOR") == "cpu":
        return None
    found = visible_devices(chosen)
    if not found:
        return ("-1",) * slots  # what CUDA takes for no device
    if len(found) < slots:
        raise UserError(
            f"{slots} ranks on this host, but CUDA_VISIBLE_DEVICES={chosen} shows {len(found)}"
            " devices. Show more, or start fewer ranks with --nproc."
        )
    return found[:slots]


def visible_devices(chosen: str) -> tuple[str, ...]:
    """The devices that CUDA would show, by the words of CUDA_VISIBLE_DEVICES.

    It reads numbers, or names that begin with GPU- or MIG-, up to the first word that is no such:
    "-1" and Slurm's "NoDevFiles" show none, and "0,-1,1" shows one.

    Raises:
        UserError: one is named twice, which CUDA takes for no device at all.
    """
    words = [one.strip() for one in chosen.split(",")]
    pattern = next((one for one in _WORDS if one.match(words[0])), _WORDS[0])
    found: list[str] = []
    for match in map(pattern.match, words):
        if match is None:
            break
        if match[0] in found:
            raise UserError(
                f"CUDA_VISIBLE_DEVICES={chosen}: names {match[0]} twice, which CUDA takes for no"
                " device at all. Name each one once."
            )
        found.append(match[0])
    return tuple(found)
