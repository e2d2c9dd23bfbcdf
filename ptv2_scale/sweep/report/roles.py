"""Which axis of a sweep is the task, the backbone, the method, the length or the depth."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

from ptv2_scale.sweep.records import TrialRecord

Role = Literal["task", "backbone", "method", "length", "depth"]

# Names that an axis with a part in the report may have: people's, and the recipe's keys.
NAMES: Mapping[Role, tuple[str, ...]] = {
    "task": ("task", "task.name", "dataset"),
    "backbone": ("backbone", "backbone.name", "model", "size"),
    "method": ("method", "prompt.method"),
    "length": ("length", "prompt.length"),
    "depth": ("depth", "prompt.layers", "layers"),
}


def axis_of(role: Role, names: Collection[str]) -> str | None:
    """The name among some that has a role; None: there is none."""
    return next((name for name in NAMES[role] if name in names), None)


def axis_names(records: Iterable[TrialRecord]) -> list[str]:
    """Names of all axes, in the order in which they come."""
    return list(dict.fromkeys(name for record in records for name in record.axes))


def other_axes(names: Sequence[str], *roles: Role) -> list[str]:
    """The axes that have none of some roles."""
    taken = {axis_of(role, names) for role in roles}
    return [name for name in names if name not in taken]


def label_of(record: TrialRecord, role: Role) -> str:
    """A trial's label on the axis with a role; empty: its sweep has no such axis."""
    name = axis_of(role, record.axes)
    return "" if name is None else record.axes[name]


def labels_of(record: TrialRecord, names: Iterable[str]) -> str:
    """A trial's labels on some axes in a row: "P-Tuning v2, prompt.length=8"."""
    labels = [
        f"{name}={record.axes[name]}" if "." in name else record.axes[name]
        for name in names
        if name in record.axes
    ]
    return ", ".join(labels) or "all"
