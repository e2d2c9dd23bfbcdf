"""`ptv2_scale.launch` from plain Python: twice in one process, silent, and asked to stop."""

from __future__ import annotations

import doctest
import inspect
import signal
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
import ranks
from hosted import Run
from tiny import write_recipe

import ptv2_scale
from ptv2_scale import LaunchOptions, LaunchResult, launch
from ptv2_scale.launchers.events import (
    Event,
    Finished,
    OutputLine,
    RanksStarting,
    Rendered,
    Restarting,
    RunFailed,
    StopRequest,
)
from ptv2_scale.runtime.errors import UserError

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks on the CPU, which find their places in what the launch gives them."""
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ranks.no_place().items():
        monkeypatch.setenv(name, value)


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in SIGNALS]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A job of seconds."""
    path = write_recipe(tmp_path_factory.mktemp("job"), "bert")
    return (str(path), "watchdog.silence=60s")


@pytest.fixture
def run(recipe: tuple[str, ...], tmp_path: Path) -> Run:
    return Run(tmp_path / "run", recipe)


def options(run: Run, *overrides: str, **fields: Any) -> LaunchOptions:
    recipe, *words = run.arguments
    return LaunchOptions(recipe, (*words, *overrides), nproc=2, **fields)


def test_the_example_of_its_docstring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = inspect.getdoc(ptv2_scale.launch)
    assert text is not None
    example = doctest.DocTestParser().get_doctest(text, {}, "launch", None, None)
    assert len(example.examples) == 5
    failed = doctest.DocTestRunner().run(example).failed
    assert failed == 0
    assert (tmp_path / "runs" / "three-steps" / "result.json").exists()


def test_a_process_launches_twice_and_nothing_is_printed(
    recipe: tuple[str, ...], tmp_path: Path, capfd: Any
) -> None:
    runs = [Run(tmp_path / name, recipe) for name in ("first", "second")]
    before, seen, during = handlers(), [], []

    def heard(event: Event) -> None:
        seen.append(event)
        during.append(handlers())

    silent = launch(options(runs[0], "train.steps=2"))
    result = launch(options(runs[1], "train.steps=2"), heard)
    assert [silent, result] == [
        LaunchResult(0, "done", run.path, step=2, reason="", restarts=0, job=None) for run in runs
    ]
    assert runs[0].result() == runs[1].result()
    assert {tuple(map(str, one)) for one in [*during, handlers()]} == {tuple(map(str, before))}
    assert capfd.readouterr() == ("", "")
    assert isinstance(seen[0], RanksStarting)
    assert seen[-1] == Finished(result)
    text = "".join(event.text for event in seen if isinstance(event, OutputLine))
    assert "on 2 ranks" in text


def test_a_request_to_stop_saves_and_ends(run: Run) -> None:
    stop = StopRequest()

    def later() -> None:
        run.wait_for(2)
        stop()

    waiting = threading.Thread(target=later)
    waiting.start()
    result = launch(options(run, "train.steps=1000", "evaluate.every=1000"), stop=stop)
    waiting.join()
    assert (result.exit_code, result.state) == (75, "stopped")
    assert result.step == max(run.steps()) >= 2
    assert run.status()["reason"] == "SIGTERM"


def test_a_mistake_that_ranks_find_is_a_result_and_not_tried_again(
    run: Run, tmp_path: Path
) -> None:
    seen: list[Event] = []
    # The launch looks for files; ranks read every row.
    data = tmp_path / "data"
    data.mkdir()
    for name in ("train", "validation"):
        (data / f"{name}.jsonl").write_text('{"text": "w3", "label": "other"}\n')
    asked = options(run, f"task.path={data}", "task.labels=[no, yes]", max_restarts=3)
    result = launch(asked, seen.append)
    assert (result.exit_code, result.state, result.restarts) == (2, "invalid", 0)
    assert not [event for event in seen if isinstance(event, Restarting | RunFailed)]


def test_a_mistake_that_the_launch_finds_is_raised(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        launch(LaunchOptions(str(tmp_path / "none.yaml")))
    with pytest.raises(UserError, match="/nowhere: no such folder"):
        launch(LaunchOptions("demo", ("task.path=/nowhere", f"run={tmp_path / 'run'}"), nproc=1))
    with pytest.raises(UserError, match="--master: ranks of one host meet there"):
        launch(LaunchOptions("demo", master="n1:29500"))


def test_what_a_callback_raises_ends_the_ranks(run: Run) -> None:
    found: list[psutil.Process] = []
    others = psutil.Process().children(recursive=True)

    def heard(event: Event) -> None:
        if isinstance(event, OutputLine):
            found.extend(set(psutil.Process().children(recursive=True)) - set(others))
            raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        launch(options(run, "train.steps=1000"), heard)
    assert found
    assert not psutil.wait_procs(found, timeout=60)[1]


def test_a_dry_run_is_told_and_not_started(run: Run) -> None:
    seen: list[Event] = []
    result = launch(options(run, dry_run=True), seen.append)
    assert result == LaunchResult(0, "rendered", run.path)
    assert isinstance(seen[0], Rendered)
    assert "deepspeed.launcher.launch" in seen[0].text
    assert not run.path.exists()
