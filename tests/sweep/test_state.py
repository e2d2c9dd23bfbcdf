"""Trials are planned once, had by one process at a time, and keep how they ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.sweep.api import Sweep
from ptv2_scale.sweep.state import Claimed, Ending, SweepState

Write = Callable[..., Path]


def state_of(asked: Sweep) -> SweepState:
    """The state, prepared as a process does that joins."""
    state = SweepState.of(asked.file, make=True)
    state.prepare(asked.cells)
    return state


def claim_all(state: SweepState, asked: Sweep) -> list[Claimed]:
    found = []
    while (trial := state.claim(asked.cells)) is not None:
        found.append(trial)
    return found


def end(state: SweepState, trial: Claimed, score: Any) -> Ending:
    """As a run that has ended with a score."""
    trial.run.mkdir(parents=True, exist_ok=True)
    (trial.run / "result.json").write_text(json.dumps({"metric": "accuracy", "value": score}))
    return state.finish(trial, Ending("done", 0))


def states(state: SweepState) -> list[str]:
    return [one.state for one in state.load()]


def test_two_processes_plan_once_and_share_what_is_to_be_done(small: Sweep) -> None:
    first, second = state_of(small), state_of(small)
    assert states(first) == ["waiting"] * 4
    trials = [claim_all(first, small), claim_all(second, small)]
    assert [len(found) for found in trials] == [4, 0]
    names = [(trial.cell.label, trial.params, trial.seed) for trial in trials[0]]
    assert names == [
        (label, {"train.lr": lr}, 11) for label in ("head only", "prefix") for lr in (0.01, 0.001)
    ]
    assert states(second) == ["running"] * 4
    trials[0][1].lease.release()  # as a process that was killed
    assert states(second) == ["running", "interrupted", "running", "running"]
    (taken,) = claim_all(second, small)
    assert (taken.trial, taken.run) == (trials[0][1].trial, trials[0][1].run)


def test_how_a_trial_ended_is_kept_and_only_retry_runs_it_again(small: Sweep) -> None:
    state = state_of(small)
    done, nan, failed, stopped = claim_all(state, small)
    assert end(state, done, 0.75).state == "done"
    assert end(state, nan, float("nan")) == Ending("failed", 0, "accuracy is nan")
    state.finish(failed, Ending("failed", 3, "ValueError: no"))
    state.finish(stopped, Ending("interrupted"))
    found = SweepState.of(small.file).load()
    assert [(one.state, one.reason, one.exit_code, one.score) for one in found] == [
        ("done", "", 0, 0.75),
        ("failed", "accuracy is nan", 0, None),
        ("failed", "ValueError: no", 3, None),
        ("interrupted", "", None, None),
    ]
    assert found[0].ranges == {"train.lr": (0.001, 0.01)}
    again = state_of(small)
    (only,) = claim_all(again, small)
    assert only.trial == stopped.trial
    again.finish(only, Ending("interrupted"))
    assert again.retry(small.cells) == 2
    assert again.retry(small.cells) == 0
    assert states(again) == ["done", "waiting", "waiting", "interrupted"]
    assert {one.run for one in claim_all(again, small)} == {nan.run, failed.run, stopped.run}


def test_optuna_itself_reads_what_was_tried(small: Sweep) -> None:
    state = state_of(small)
    for number, trial in enumerate(claim_all(state, small)):
        end(state, trial, number / 10)
    url = f"sqlite:///{small.file.folder}/sweep.db"
    study = optuna.load_study(study_name="small: prefix", storage=url)
    assert study.best_params == {"train.lr": 0.001}
    assert study.best_value == pytest.approx(0.3)


def test_a_wider_grid_adds_runs_and_one_that_waits_can_be_taken_out(
    small: Sweep, write: Write
) -> None:
    state = state_of(small)
    first = state.claim(small.cells)
    assert first is not None
    end(state, first, 0.5)
    wider = Sweep.read(write(**{"[0.01, 0.001]": "[0.1, 0.01]"}))
    state = state_of(wider)
    found = [(one.params["train.lr"], one.state) for one in state.load()]
    assert found == [(0.01, "done"), (0.1, "waiting"), (0.01, "waiting"), (0.1, "waiting")]
    back = state_of(small)
    assert states(back).count("waiting") == 3


def test_another_recipe_in_the_same_state_is_refused(small: Sweep, write: Write) -> None:
    state_of(small)
    longer = Sweep.read(write(**{"train.steps: 5": "train.steps: 6"}))
    with pytest.raises(UserError, match="'head only': .*train.steps was 5 and is 6. Put it back"):
        state_of(longer)
    state_of(Sweep.read(write(**{"train.steps: 5": "train.steps: 5, train.cpu_threads: 2"})))


def test_a_search_chooses_and_makes_its_best_again_with_other_seeds(write: Write) -> None:
    keys = "{train.lr: {low: 1.0e-4, high: 0.1, log: true}, prompt.length: {low: 2, high: 9}}"
    asked = Sweep.read(
        write(
            "seeds: [1, 2, 3]\nstate: " + str(write().with_name("state.log")) + "\n",
            **{
                "grid: {train.lr: [0.01, 0.001]}": f"search: {{trials: 6, keys: {keys}}}",
                "    head only: {prompt: {method: none}}\n": "",
            },
        )
    )
    state = state_of(asked)
    trials = claim_all(state, asked)
    assert len(trials) == 6
    for trial in trials:
        assert 1e-4 <= trial.params["train.lr"] <= 0.1
        assert trial.params["prompt.length"] in range(2, 10)
        end(state, trial, trial.params["train.lr"])
    state.confirm(asked.cells)
    state.confirm(asked.cells)
    more = claim_all(state, asked)
    best = max((trial.params for trial in trials), key=lambda params: params["train.lr"])
    assert [(one.params, one.seed) for one in more] == [(best, 2), (best, 3)]


def test_a_run_that_scores_below_the_median_of_its_cell_is_pruned(write: Write) -> None:
    keys = "{train.lr: {low: 1.0e-4, high: 0.1}}"
    search = f"search: {{trials: 6, prune: median, keys: {keys}}}"
    only = {"    head only: {prompt: {method: none}}\n": ""}
    asked = Sweep.read(write(**only, **{"grid: {train.lr: [0.01, 0.001]}": search}))
    state = state_of(asked)
    trials = claim_all(state, asked)

    def evaluate(trial: Claimed, score: float) -> None:
        trial.run.mkdir(parents=True)
        event = {"event": "evaluation", "step": 5, "accuracy": score}
        (trial.run / "metrics.jsonl").write_text(json.dumps(event) + "\n")

    for number in range(4):
        evaluate(trials[number], 0.5 + number / 10)
        end(state, trials[number], 0.9)
    for trial, score in ((trials[4], 0.64), (trials[5], 0.66)):  # the median is 0.65
        evaluate(trial, score)
    assert [state.should_prune(trial) for trial in trials[4:]] == [True, False]
    state.finish(trials[4], Ending("pruned", 75))
    assert states(state) == ["done"] * 4 + ["pruned", "running"]


def test_a_state_that_is_not_there_is_named(small: Sweep, write: Write) -> None:
    with pytest.raises(UserError, match="sweep.db: no such file: the sweep has not been started"):
        SweepState.of(small.file)
    other = Sweep.read(write("state: nosuch://server/db\n"))
    with pytest.raises(UserError, match="state nosuch://server/db: cannot be opened"):
        SweepState.of(other.file)
