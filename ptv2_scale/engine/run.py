"""One run from its recipe to its result: open, guard, train, evaluate, keep, export."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch

from ptv2_scale.config import Prefix, RunConfig, dump_recipe
from ptv2_scale.data.collate import Example
from ptv2_scale.engine import checkpoint
from ptv2_scale.engine.build import (
    Setup,
    build_model,
    deepspeed_config,
    open_setup,
    start_engine,
)
from ptv2_scale.engine.checkpoint import Best, Found, Parts, TrainerState
from ptv2_scale.engine.evaluate import forward_all, model_inputs
from ptv2_scale.engine.guard import check_prefix
from ptv2_scale.engine.head_only import score_head_alone
from ptv2_scale.engine.ranks import Ranks, on_first_rank
from ptv2_scale.engine.reporting import Reporter
from ptv2_scale.engine.result import Result, peak_memory
from ptv2_scale.engine.resume import Resume, find_start, open_run
from ptv2_scale.engine.state import full_values, local_parts, restore
from ptv2_scale.engine.train import Trainer
from ptv2_scale.engine.warm_start import check_warm_start, warm_start
from ptv2_scale.export import Card, write_export
from ptv2_scale.tasks.metrics import majority


@dataclass(frozen=True)
class Opened:
    """A recipe with its data, before this process has joined the other ranks.

    Opening comes first, so that a mistake in the recipe or the data ends every rank by itself.

    Attributes:
        setup: what the recipe names.
        train: the training split, tokenised.
        validation: the split that decides which checkpoint is best.
        began: `time.perf_counter()` at the start.
    """

    setup: Setup
    train: list[Example]
    validation: list[Example]
    began: float


def open_recipe(config: RunConfig) -> Opened:
    """Open a recipe's backbone, tokenizer and data.

    Raises:
        UserError: something is missing, wrong, or does not go together.
    """
    began = time.perf_counter()
    setup = open_setup(config)
    return Opened(setup, setup.examples("train"), setup.examples("validation"), began)


class Run:
    """A recipe being run on these ranks.

    Args:
        opened: what the recipe names.
        path: the run directory.
        resume: where to begin.
        ranks: where this process stands.

    Raises:
        UserError: the recipe does not fit these ranks, or the run cannot be begun or resumed there.
    """

    def __init__(self, opened: Opened, path: Path, resume: Resume, ranks: Ranks) -> None:
        self._began = opened.began
        self._setup, config = opened.setup, opened.setup.config
        self._train, self._validation = opened.train, opened.validation
        self._config, self._path, self._ranks = config, path, ranks
        # A recipe that cannot work on these ranks leaves no run directory behind.
        model = build_model(self._setup)
        settings = deepspeed_config(self._setup, model, ranks)
        self._found = on_first_rank(ranks, lambda: self._open(resume))
        self._reporter = Reporter(path, ranks.first, config.trackers)
        for skipped in self._found.skipped:
            self._reporter.say(f"passed over a damaged checkpoint: {skipped}")
        self._engine = start_engine(self._setup, model, settings, ranks)
        self._trainer = Trainer(
            self._engine,
            self._setup.task,
            self._train,
            config.train,
            self._setup.padding,
            ranks,
        )

    def _open(self, resume: Resume) -> Found:
        found = find_start(self._path, resume, self._config, self._setup.fingerprint)
        if found.path is None:
            check_warm_start(self._setup)
        return open_run(self._path, found, dump_recipe(self._config))

    def train(self) -> Result:
        """Train to the end, and keep the best."""
        state = self._begin()
        total = self._trainer.order.total_steps
        self._reporter.start(total, state.step)
        for step in self._trainer.steps(state.step):
            state = replace(state, step=step.step)
            self._reporter.step({"event": "step", **asdict(step)})
            if self._is_evaluation(state.step):
                state = self._evaluate(state)
            if self._is_save(state.step):
                self._save(state)
            if self._is_out_of_patience(state):
                self._reporter.say(f"stopped early: no gain in {state.without_gain} evaluations")
                break
        result = self._finish(state)
        self._reporter.close()
        return result

    def _begin(self) -> TrainerState:
        if self._found.path is not None:
            return self._resume(self._found.path)
        prompt = self._config.prompt
        if isinstance(prompt, Prefix):
            warm_start(self._engine, self._setup, prompt)
            self._guard()
        return TrainerState(
            recipe=self._config.model_dump(mode="json"),
            fingerprint=self._setup.fingerprint,
            world=self._ranks.world,
            versions={name: version(name) for name in ("torch", "transformers", "deepspeed")},
        )

    def _resume(self, path: Path) -> TrainerState:
        state = checkpoint.read_state(path)
        steps = state.step
        if state.best and checkpoint.damage(
            checkpoint.checkpoint_path(self._path, state.best.step)
        ):
            # Its best evaluation cannot be had any more; the next one counts as the best again.
            state = replace(state, best=None, without_gain=0)
        restore(self._engine, Parts(path).read, steps)
        self._reporter.say(f"resumed from {path}, written by {state.world} ranks")
        self._reporter.record({"event": "resumed", "step": steps})
        return replace(state, world=self._ranks.world, recipe=self._config.model_dump(mode="json"))

    def _guard(self) -> None:
        rows = self._validation[: min(2, len(self._validation))]
        made = self._setup.task.collate(rows, self._setup.padding)
        batch = model_inputs(made, self._ranks.device)
        # Below stage 3 the engine would take the guard's own gradient for a training step's.
        sharded = self._engine.zero_optimization_stage() == 3
        run = self._engine if sharded else self._engine.module
        check_prefix(run, self._engine.module, batch)

    def _is_evaluation(self, step: int) -> bool:
        order = self._trainer.order
        every = self._config.evaluate.every or order.steps_per_epoch
        return step % every == 0 or step == order.total_steps

    def _is_save(self, step: int) -> bool:
        every = self._config.checkpoint.every
        if every is None or step == self._trainer.order.total_steps:
            return self._is_evaluation(step)
        return step % every == 0

    def _is_out_of_patience(self, state: TrainerState) -> bool:
        patience = self._config.evaluate.patience
        return patience is not None and state.without_gain >= patience

    def _metrics(self, examples: Sequence[Example]) -> dict[str, float]:
        logits = forward_all(self._engine, self._setup, examples, self._ranks)
        return self._setup.task.scores(logits, examples)

    def _evaluate(self, state: TrainerState) -> TrainerState:
        metrics = self._metrics(self._validation)
        metric = self._setup.task.metric.name
        value = metrics[metric]
        self._reporter.record({"event": "evaluation", "step": state.step, **metrics})
        self._reporter.say(f"step {state.step}: validation {metric} {value:.4f}")
        if state.best is not None and value <= state.best.value:
            return replace(state, without_gain=state.without_gain + 1)
        state = replace(state, best=Best(state.step, value), without_gain=0)
        if not self._is_save(state.step):
            self._save(state)
        return state

    def _save(self, state: TrainerState) -> None:
        groups = self._engine.optimizer.param_groups
        kept = [{k: v for k, v in g.items() if k in ("lr", "weight_decay")} for g in groups]
        state = replace(state, parameter_groups=kept)
        checkpoint.save(self._path, state, list(local_parts(self._engine)), self._ranks)
        if self._ranks.first:
            checkpoint.prune(self._path, self._config.checkpoint.keep, state.best)

    def _finish(self, state: TrainerState) -> Result:
        if state.best is None:
            state = self._evaluate(state)
        best = state.best
        assert best is not None
        if best.step != state.step:
            parts = Parts(checkpoint.checkpoint_path(self._path, best.step))
            restore(self._engine, parts.read, best.step)
        values = full_values(self._engine)
        head_only = self._head_only() if self._config.train.head_only_baseline else None
        result = self._result(state, best, head_only)
        on_first_rank(self._ranks, lambda: self._write(result, values))
        return result

    def _write(self, result: Result, values: dict[str, torch.Tensor]) -> None:
        card = Card.of(self._setup, result.to_json())
        write_export(self._path / "export", card, values, replace_existing=True)
        (self._path / "result.json").write_text(json.dumps(result.to_json(), indent=1) + "\n")

    def _head_only(self) -> float:
        self._reporter.say("training a head alone on the frozen backbone, to compare")
        return score_head_alone(
            self._engine, self._setup, self._train, self._validation, self._ranks
        )

    def _result(self, state: TrainerState, best: Best, head_only: float | None) -> Result:
        task = self._setup.task
        labels = [example.label for example in self._validation if example.label is not None]
        parameters = list(self._engine.module.named_parameters())
        sizes = {name: getattr(p, "ds_numel", p.numel()) for name, p in parameters}
        frozen = sum(n for name, n in sizes.items() if name.startswith("backbone."))
        return Result(
            task=task.name,
            split="validation",
            metric=task.metric.name,
            value=best.value,
            majority=majority(labels, task.metric),
            best_step=best.step,
            steps=state.step,
            trained_parameters=sum(sizes.values()) - frozen,
            backbone_parameters=frozen,
            seconds=round(time.perf_counter() - self._began, 1),
            peak_memory_bytes=peak_memory(self._ranks),
            ranks=self._ranks.world,
            head_only=head_only,
        )
