"""Trackers that a recipe may name: those of accelerate, each of which needs a package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ptv2_scale.runtime.errors import UserError, did_you_mean
from ptv2_scale.runtime.packages import is_installed

# Tracker -> packages, one of which it needs.
TRACKERS: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("aim", "clearml", "comet_ml", "dvclive", "mlflow", "swanlab")},
    **{"tensorboard": ("tensorboard", "tensorboardX"), "trackio": ("trackio",)},
    "wandb": ("wandb",),
}


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that cannot be had.

    Raises:
        UserError: there is no such tracker, or its package is not installed.
    """
    problems = [problem for name in names if (problem := _problem(name))]
    if problems:
        raise UserError("\n".join(problems))


def _problem(name: str) -> str:
    packages = TRACKERS.get(name)
    if packages is None:
        guess = did_you_mean(name, TRACKERS)
        return f"trackers: no tracker '{name}'.{guess} Known: {', '.join(TRACKERS)}."
    if not any(map(is_installed, packages)):
        return f"trackers: '{name}' is not installed. Run: pip install {packages[0]}"
    return ""
