"""The result of a run that has ended, and the files that it is written to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepspeed import DeepSpeedEngine

from ptv2_scale.backbones.int8 import packed_parameters
from ptv2_scale.backbones.weights import TensorFile
from ptv2_scale.checkpoint.store import Best, TrainerState
from ptv2_scale.distributed.leaders import on_first_rank
from ptv2_scale.engine.agreement import package_versions
from ptv2_scale.engine.hardware import hardware_of
from ptv2_scale.engine.opened import Opened
from ptv2_scale.engine.usage import RunUsage
from ptv2_scale.export.card import CARD_FILE, Card
from ptv2_scale.export.native import write_export
from ptv2_scale.model.setup import Setup
from ptv2_scale.runtime.atomic import write_atomically
from ptv2_scale.runtime.result import Result


def result_of(
    engine: DeepSpeedEngine,
    opened: Opened,
    state: TrainerState,
    best: Best,
    usage: RunUsage,
    head_only: float | None,
) -> Result:
    """The result; every rank calls it.

    Args:
        engine: the model.
        opened: what the recipe names.
        state: after the last step.
        best: the best evaluation.
        usage: what the run has taken.
        head_only: score of a head alone; None: none was trained.
    """
    task, ranks = opened.setup.task, usage.ranks
    trained, frozen = _parameters(engine.module)
    trivial = on_first_rank(ranks, lambda: task.trivial(opened.validation.rows))
    work = on_first_rank(ranks, lambda: state.work)
    return Result(
        task=task.name,
        split="validation",
        metric=task.metric,
        value=best.value,
        trivial=trivial.value,
        trivial_answer=trivial.answer,
        best_step=best.step,
        steps=state.step,
        trained_parameters=trained,
        backbone_parameters=frozen,
        seconds=usage.seconds(),
        peak_memory_bytes=usage.peak_memory(),
        ranks=ranks.world,
        head_only=head_only,
        metrics=best.metrics or {task.metric: best.value},
        validation_loss=best.loss,
        examples_per_second=work.a_second(work.examples),
        tokens_per_second=work.a_second(work.tokens),
        hardware=hardware_of(ranks),
        versions=package_versions(),
    )


def write_result(
    run: Path, setup: Setup, result: Result, trained: TensorFile, say: Callable[[str], None]
) -> None:
    """Write the export and `result.json`; the first rank calls it.

    Args:
        run: the run directory.
        setup: what the recipe names.
        result: to be written.
        trained: the trained tensors of the best evaluation.
        say: tells that `result.json` cannot be written; the export has the result too.
    """
    card = Card.of(setup, result.to_json())
    write_export(run / "export", card, trained, replace_existing=True)
    path = run / "result.json"
    try:
        path.unlink(missing_ok=True)  # an older one would be taken for this run's
        write_atomically(path, json.dumps(result.to_json(), indent=1) + "\n")
    except OSError as error:
        say(
            f"warning: {path}: cannot be written ({error.strerror}); the result stands in"
            f" {run / 'export' / CARD_FILE} too"
        )


def _parameters(module: Any) -> tuple[int, int]:
    """Numbers of trained parameters and of all others."""
    parameters = list(module.parameters())
    kept = 0 if module.adapter is None else module.adapter.kept_elements
    trained = sum(_size(one) for one in parameters if one.requires_grad) - kept
    return trained, sum(map(_size, parameters)) + packed_parameters(module) - trained


def _size(parameter: Any) -> int:
    """Elements of a parameter, of which a rank may hold a shard."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))
