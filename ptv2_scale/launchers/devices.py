"""The accelerators of this host."""

from __future__ import annotations

from collections.abc import Mapping

from ptv2_scale.runtime.errors import UserError


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
        UserError: they are too few.
    """
    chosen = environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None or environ.get("DS_ACCELERATOR") == "cpu":
        return None
    found = tuple(one.strip() for one in chosen.split(",") if one.strip())
    if not found:
        return ("-1",) * slots  # what CUDA takes for no device
    if len(found) < slots:
        raise UserError(
            f"{slots} ranks on this host, but CUDA_VISIBLE_DEVICES={chosen} shows {len(found)}"
            " devices. Show more, or start fewer ranks with --nproc."
        )
    return found[:slots]
