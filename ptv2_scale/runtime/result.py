"""What a run reached, as it is written to `RUN/result.json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Result:
    """What a run reached.

    Attributes:
        task: name of the task.
        split: the split that was evaluated.
        metric: name of the metric.
        value: score of the best evaluation.
        trivial: score of a model that has learned nothing and always gives the same answer.
        trivial_answer: that answer: "the most frequent class".
        best_step: step of the best evaluation.
        steps: number of optimizer steps made.
        trained_parameters: number of trained parameters.
        backbone_parameters: number of frozen parameters.
        seconds: wall-clock time, start-up included, of this process and of those that it went on
            from, steps that had to be made again included.
        peak_memory_bytes: the largest of all ranks, of these processes too: GPU memory on a GPU,
            resident memory without.
        ranks: number of ranks.
        head_only: score of a head trained alone, where asked for.
        metrics: all that are published for the task, of the best evaluation, by name.
        validation_loss: of the best evaluation; None: an earlier version made it.
        examples_per_second: that the optimizer steps learned from, of all ranks together,
            evaluations and start-up left out; None: there were no steps.
        tokens_per_second: the same of their tokens, without padding.
        hardware: of the last process: see `ptv2_scale.engine.hardware`.
        versions: of Python and of the packages whose arithmetic the bits depend on.
    """

    task: str
    split: str
    metric: str
    value: float
    trivial: float
    trivial_answer: str
    best_step: int
    steps: int
    trained_parameters: int
    backbone_parameters: int
    seconds: float
    peak_memory_bytes: int
    ranks: int
    head_only: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    validation_loss: float | None = None
    examples_per_second: float | None = None
    tokens_per_second: float | None = None
    hardware: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it is written; `head_only` only where it was asked for."""
        fields = asdict(self)
        if self.head_only is None:
            del fields["head_only"]
        return fields
