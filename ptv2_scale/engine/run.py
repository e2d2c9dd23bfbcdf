"""One run from its recipe to its result: open, guard, train, evaluate, keep, export."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import torch

from ptv2_scale.backbones.weights import TensorFile
from ptv2_scale.checkpoint.file_systems import find_file_systems
from ptv2_scale.checkpoint.manager import CheckpointManager
from ptv2_scale.checkpoint.manifest import damage
from ptv2_scale.checkpoint.recovery import Found
from ptv2_scale.checkpoint.resume import Resume, find_start, open_run
from ptv2_scale.checkpoint.run_directory import NewDirectory
from ptv2_scale.checkpoint.store import (
    Best,
    TrainerState,
    checkpoint_path,
)
from ptv2_scale.distributed.agreement import check_agreement
from ptv2_scale.distributed.leaders import on_first_rank
from ptv2_scale.distributed.ranks import RankContext, gather, sum_over_ranks
from ptv2_scale.engine.agreement import run_facts, versions
from ptv2_scale.engine.build import deepspeed_config, release_engine, start_engine
from ptv2_scale.engine.hardware import idle_cores_note, slow_dtype_note
from ptv2_scale.engine.head_baseline import score_head_alone
from ptv2_scale.engine.loss_spikes import LossSpikeDetector
from ptv2_scale.engine.opened import Opened
from ptv2_scale.engine.reporting import NOT_FINITE, Reporter
from ptv2_scale.engine.result import result_of, write_result
from ptv2_scale.engine.state import EngineState, set_values
from ptv2_scale.engine.trained_values import read_on_first_rank
from ptv2_scale.engine.trainer import StepOutcome, Trainer
from ptv2_scale.engine.usage import RunUsage
from ptv2_scale.export.native import check_replaceable
from ptv2_scale.inference.forward import evaluate_all
from ptv2_scale.model.setup import EncodedSplit, build_model
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.heap import freed_memory_kept
from ptv2_scale.runtime.heartbeat import current, report_progress
from ptv2_scale.runtime.metrics_file import recorded_seconds
from ptv2_scale.runtime.result import Result
from ptv2_scale.runtime.status import read_status
from ptv2_scale.watch.base import Watch
from ptv2_scale.watch.requests import LIMITS, NoProgress, Stopped

# So many steps in a row that are not finite are no bad batch but a bad model.
_MOST_IN_A_ROW = 10


class Run:
    """A recipe being run on these ranks.

    Args:
        opened: what the recipe names.
        path: the run directory.
        resume: where to begin.
        ranks: where this process stands.
        watch: tells of requests to stop.

    Raises:
        UserError: the recipe does not fit these ranks, or the run cannot be begun or resumed there.
    """

    def __init__(
        self, opened: Opened, path: Path, resume: Resume, ranks: RankContext, watch: Watch
    ) -> None:
        self._opened, self._usage = opened, RunUsage(ranks, opened.began)
        self._setup, config = opened.setup, opened.setup.config
        self._train, self._validation = opened.train, opened.validation
        self._config, self._path, self._ranks, self._watch = config, path, ranks, watch
        self._content = opened.content
        check_agreement(run_facts(self._setup, self._content), ranks)
        # A recipe that cannot work on these ranks leaves no run directory behind.
        model = build_model(self._setup)
        settings = deepspeed_config(self._setup, model, ranks)
        self._groups = find_file_systems(path, ranks)
        self._directory = NewDirectory(path)
        self._found = self._open(resume)
        self._attempted = read_status(path) if ranks.first else None
        watch.attach(path, self._directory.remove)
        prometheus = config.train.prometheus
        self._reporter = Reporter(path, ranks.first, config.trackers, prometheus)
        if self._groups.several:
            names = ", ".join(self._groups.names)
            self._reporter.say(f"no shared run directory: each of {names} keeps its ranks' shards")
        for damaged in self._found.skipped:
            self._reporter.say(f"set aside a damaged checkpoint: {damaged}")
        task = self._setup.task
        idle = idle_cores_note(ranks, config.train.cpu_threads)
        slow = slow_dtype_note(ranks.device, config.backbone.dtype) if ranks.first else []
        if opened.chosen:
            self._reporter.say(f"chosen for this run: {', '.join(opened.chosen)}")
        facts = (*self._setup.describe(), *task.describe(), *task.describe_rows(self._train.rows))
        for line in (*slow, *idle, *facts):
            self._reporter.say(line)
        report_progress("loading the backbone")
        self._engine = start_engine(self._setup, model, settings, ranks)
        self._trainer = Trainer(
            self._engine,
            self._setup.task,
            self._train.examples,
            config.train,
            self._setup.padding,
            ranks,
            config.task.weight,
            self._setup.method.front,
        )
        self._spikes = LossSpikeDetector(config.train.spike)
        self._checkpoints = CheckpointManager(
            EngineState(self._engine), path, config.checkpoint, self._groups, self._reporter.say
        )

    def _open(self, resume: Resume) -> Found:
        # torchrun tells of a restart only on the host where a rank has failed.
        if "auto" in gather(resume, self._ranks):
            resume = "auto"
        found = find_start(self._path, resume, self._content, self._groups)
        on_first_rank(self._ranks, lambda: check_replaceable(self._path / "export"))
        earlier = TrainerState() if found.plan is None else found.plan.state
        if found.plan is not None:
            report_progress("opening the run directory", earlier.step)
        # A process that was killed has recorded more time than its last checkpoint has.
        recorded = on_first_rank(self._ranks, lambda: recorded_seconds(self._path))
        self._usage = replace(
            self._usage,
            seconds_before=max(earlier.seconds, recorded),
            peak_before=earlier.peak_memory_bytes,
        )
        if found.path is None:
            self._groups.on_leaders(lambda: self._setup.method.check_start(self._setup.tokenizer))
        return open_run(self._path, found, self._config, self._groups, self._directory)

    def train(self) -> Result:
        """Train to the end, and keep the best.

        Raises:
            Stopped: all ranks have agreed to stop; everything is saved.
        """
        on_cpu = self._ranks.device.type == "cpu"
        with freed_memory_kept() if on_cpu else nullcontext():
            try:
                return self._finish(self._steps(self._begin()))
            finally:
                self._reporter.close()
                release_engine(self._engine)

    def _steps(self, state: TrainerState) -> TrainerState:
        self._reporter.start(self._trainer.order.total_steps, state.step)
        self._directory.keep()
        self._check()
        if self._is_evaluation(state.step) and state.evaluated < state.step:
            state = self._evaluate(state)
        while not self._is_over(state):
            state = self._advance(state)
        return state

    def _begin(self) -> TrainerState:
        if self._found.path is not None:
            return self._resume(self._found.path)
        self._start()
        self._guard()
        return TrainerState(
            recipe=self._config.model_dump(mode="json"),
            fingerprint=self._content.fingerprint,
            identity=self._content.identity,
            world=self._ranks.world,
            versions=versions(),
        )

    def _resume(self, path: Path) -> TrainerState:
        state = self._checkpoints.restore(path)
        validation = self._content.identity.rows["validation"]
        if state.best and damage(checkpoint_path(self._path, state.best.step)):
            # Its best evaluation cannot be had any more; the next one counts as the best again.
            state = replace(state, best=None, without_gain=0)
        self._reporter.say(f"resumed from {path}, written by {state.world} ranks")
        self._record("resumed", state.step)
        for name, now in versions().items():
            if state.versions.get(name, now) != now:
                self._reporter.say(
                    f"warning: the checkpoint was written with {name} {state.versions[name]}, this"
                    f" is {now}: results may differ in their last digits"
                )
        if state.identity.rows.get("validation", validation) != validation:
            # Scores on other rows do not compare.
            state = replace(state, best=None, without_gain=0, evaluated=0)
        return replace(
            state,
            world=self._ranks.world,
            recipe=self._config.model_dump(mode="json"),
            identity=self._content.identity,
            versions=versions(),
        )

    def _advance(self, state: TrainerState) -> TrainerState:
        if state.step + 1 in state.skipped:  # going back has shown that it is better left out
            state = replace(state, step=state.step + 1)
        else:
            outcome = self._trainer.step(state.step, self._watch.reason is not None)
            state = self._take(state, outcome)
            if outcome.stop:
                self._save(state)
                raise self._stopped()
        report_progress("between steps", state.step)
        if self._is_evaluation(state.step):
            state = self._evaluate(state)
        if self._is_save(state.step):
            self._save(state)
        return state

    def _take(self, state: TrainerState, outcome: StepOutcome) -> TrainerState:
        step = outcome.result.step
        if not outcome.finite:
            return self._leave_out(state, outcome)
        self._reporter.step({"event": "step", **asdict(outcome.result), **self._place(step)})
        largest = self._spikes.update(outcome.result.loss)
        if largest is not None:
            self._reporter.say(
                f"warning: step {step}: the loss is {outcome.result.loss:.4g}; of late it was"
                f" at most {largest:.4g}"
            )
        made = outcome.result
        return replace(
            state, step=step, work=state.work.plus(made.examples, made.tokens, made.seconds)
        )

    def _place(self, step: int) -> dict[str, float]:
        """Where a record of a step stands in the run; the time is this rank's."""
        epoch = self._trainer.order.epoch(step)
        return {"epoch": epoch, "wall_seconds": round(self._usage.seconds_here(), 3)}

    def _record(self, event: str, step: int, **values: float) -> None:
        self._reporter.record({"event": event, "step": step, **values, **self._place(step)})

    def _leave_out(self, state: TrainerState, outcome: StepOutcome) -> TrainerState:
        """Go by the recipe's policy after a step that was not finite; alike on all ranks."""
        step, policy = outcome.result.step, self._config.train.not_finite
        self._reporter.not_finite(outcome.result, gather(outcome.suspects, self._ranks), policy)
        row = set(range(step - _MOST_IN_A_ROW, step))
        if policy == "stop" or row <= set(state.skipped):
            raise UserError(
                f"step {step}: the loss or its gradient is not finite"
                + (f", as in the {_MOST_IN_A_ROW} steps before" if policy != "stop" else "")
                + ". Lower train.lr or set train.clip; train.not_finite: skip leaves such batches"
                f" out. Their examples are in {self._path / NOT_FINITE}; the checkpoints of earlier"
                " steps are untouched."
            )
        state = replace(state, skipped=(*state.skipped, step))
        if policy == "roll_back" or outcome.changed:
            return self._roll_back(state)
        return replace(state, step=step)

    def _roll_back(self, state: TrainerState) -> TrainerState:
        before = self._checkpoints.restore(self._checkpoints.newest())
        self._reporter.say(f"back to step {before.step}; step {state.skipped[-1]} is left out")
        self._record("resumed", before.step)
        return replace(before, skipped=state.skipped)

    def _asked_anywhere(self) -> bool:
        """Whether some rank has been asked to stop; every rank calls it."""
        asked = torch.tensor(float(self._watch.reason is not None), device=self._ranks.device)
        return bool(sum_over_ranks(asked) > 0)

    def _stopped(self) -> Stopped:
        reasons = gather(self._watch.reason, self._ranks)
        reason = next((reason for reason in reasons if reason), "a request")
        stuck = on_first_rank(self._ranks, self._is_stuck) and reason in LIMITS
        return NoProgress(reason) if stuck else Stopped(reason)

    def _is_stuck(self) -> bool:
        """Whether this attempt has come no further than the one before."""
        before = self._attempted
        return before is not None and before.state != "done" and before.step == current().step

    def _check(self) -> None:
        if self._asked_anywhere():
            raise self._stopped()

    def _is_over(self, state: TrainerState) -> bool:
        if state.step >= self._trainer.order.total_steps:
            return True
        patience = self._config.evaluate.patience
        over = patience is not None and state.without_gain >= patience
        if over:
            self._reporter.say(f"stopped early: no gain in {state.without_gain} evaluations")
        return over

    def _start(self) -> None:
        """First values that need the backbone or a file."""
        module = self._engine.module
        module.eval()
        values = self._setup.method.start_values(
            self._engine,
            module.adapter,
            self._setup.tokenizer,
            self._config.train.seed,
            self._ranks.device,
        )
        stem = self._setup.method.ADAPTER
        set_values(self._engine, {f"{stem}.{name}": value for name, value in values.items()})

    def _guard(self) -> None:
        rows = self._validation.examples[:2]
        batch = self._setup.task.collate(rows, self._setup.padding).to(self._ranks.device)
        # Below stage 3 the engine would take the guard's own gradient for a training step's.
        sharded = self._engine.zero_optimization_stage() == 3
        run = self._engine if sharded else self._engine.module
        self._setup.method.guard(run, self._engine.module, batch.arguments)

    def _is_evaluation(self, step: int) -> bool:
        order = self._trainer.order
        every = self._config.evaluate.every or order.steps_per_epoch
        return step % every == 0 or step == order.total_steps

    def _is_save(self, step: int) -> bool:
        every = self._config.checkpoint.every
        if every is None or step == self._trainer.order.total_steps:
            return self._is_evaluation(step)
        return step % every == 0

    def _metrics(self, split: EncodedSplit) -> tuple[dict[str, float], float]:
        """The task's metrics on a split, and the loss."""
        records, loss = evaluate_all(
            self._engine, self._setup, split.examples, self._ranks, check=self._check
        )
        score = self._setup.task.score
        return on_first_rank(self._ranks, lambda: score(records, split.rows)), loss

    def _evaluate(self, state: TrainerState) -> TrainerState:
        try:
            metrics, loss = self._metrics(self._validation)
        except Stopped:
            self._save(state)
            raise
        state = replace(state, evaluated=state.step)
        metric = self._setup.task.metric
        value = metrics[metric]
        self._record("evaluation", state.step, **metrics, validation_loss=loss)
        self._reporter.say(f"step {state.step}: validation {metric} {value:.4f}")
        if state.best is not None and not state.best.is_beaten_by(value):
            return replace(state, without_gain=state.without_gain + 1)
        better = replace(state, best=Best(state.step, value, metrics, loss), without_gain=0)
        # The best counts only once it can be had again.
        return better if self._save(better) else replace(state, without_gain=0)

    def _save(self, state: TrainerState) -> bool:
        """Keep this step; False: it could not be, and the run goes on."""
        report_progress("saving a checkpoint", state.step)
        return self._checkpoints.save(
            replace(
                state,
                seconds=self._usage.seconds(),
                peak_memory_bytes=self._usage.peak_memory(),
                work=on_first_rank(self._ranks, lambda: state.work),
            )
        )

    def _finish(self, state: TrainerState) -> Result:
        if state.best is None:
            state = self._evaluate(state)
        best = state.best
        if best is None:
            raise UserError(
                f"{self._path}: no checkpoint of the best step could be written, so there is"
                " nothing to export."
            )
        if best.step != state.step:
            self._checkpoints.restore(checkpoint_path(self._path, best.step))
        compared = self._config.train.head_only_baseline and not self._setup.method.trains_nothing
        head_only = self._head_only() if compared else None
        result = result_of(self._engine, self._opened, state, best, self._usage, head_only)
        report_progress("writing the export")

        def write(trained: TensorFile) -> None:
            write_result(self._path, self._setup, result, trained, self._reporter.say)

        read_on_first_rank(self._engine, self._ranks, write)
        return result

    def _head_only(self) -> float:
        self._reporter.say("training a head alone on the frozen backbone, to compare")
        return score_head_alone(
            self._engine,
            self._setup,
            self._train,
            self._validation,
            self._ranks,
            self._check,
        )
