"""Training as a function, in a process that goes on: the same bits, and nothing left behind."""

from __future__ import annotations

import doctest
import gc
import hashlib
import json
import os
import random
import signal
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import ranks
import torch
import torch.distributed
from tiny import write_recipe

import ptv2_scale
from ptv2_scale.config import load_recipe
from ptv2_scale.engine import api

FEW = "train.steps=3"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job under ZeRO-3, with dropout: its bits depend on the seed."""
    dropout = {"length": 6, "dropout": 0.1}
    return write_recipe(tmp_path_factory.mktemp("job"), prompt=dropout, deepspeed="zero3")


@pytest.fixture(scope="module")
def printed(recipe: Path) -> bytes:
    """The export of the command line's run in one rank: the truth."""
    run = recipe.parent / "cli"
    ranks.cli(1, "train", str(recipe), f"run={run}", FEW).must_succeed()
    return exported(run)


def exported(run: Path) -> bytes:
    return (run / "export" / "prompt.safetensors").read_bytes()


def process_state() -> dict[str, Any]:
    """What a program would notice of a run inside it."""
    return {
        "handlers": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "environ": {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"},
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "cpu threads": torch.get_num_threads(),
        "torch": hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest(),
        "random": random.getstate(),
        "numpy": numpy.random.get_state()[1].tolist(),
        "group": torch.distributed.is_initialized(),
        "standard": [os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2)],
        "locks": [link for link in open_files() if link.endswith(".lock")],
    }


def open_files() -> list[str]:
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.append(os.readlink(entry))
        except OSError:  # the listing's own
            continue
    return found


@pytest.fixture
def unchanged() -> Iterator[None]:
    """Check that the process is after a test what it was before."""
    before = process_state()
    yield
    assert process_state() == before
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.usefixtures("unchanged")
def test_the_same_bits_as_the_command_line_twice_and_after_a_failure(
    recipe: Path, printed: bytes, tmp_path: Path
) -> None:
    first = ptv2_scale.train(recipe, [f"run={tmp_path / 'first'}", FEW])
    assert (first.steps, first.ranks) == (3, 1)
    assert first.to_json() == json.loads((tmp_path / "first" / "result.json").read_text())
    assert exported(tmp_path / "first") == printed
    with pytest.raises(ptv2_scale.UserError, match="step 2: the loss or its gradient is not"):
        ptv2_scale.train(
            recipe, [f"run={tmp_path / 'bad'}", FEW, "train.lr=1e30", "train.clip=null"]
        )
    assert json.loads((tmp_path / "bad" / "status.json").read_text())["exit_code"] == 2
    with torch.random.fork_rng():
        torch.manual_seed(77)  # what the program has drawn does not matter
        ptv2_scale.train(load_recipe(recipe), [f"run={tmp_path / 'second'}", FEW])
    assert exported(tmp_path / "second") == printed


def test_no_engine_and_no_open_file_is_left(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ptv2_scale.engine import run

    start, engines = run.start_engine, []

    def noted(*arguments: Any) -> Any:
        engine = start(*arguments)
        engines.append(weakref.ref(engine))
        engines.append(weakref.ref(engine.module.backbone))
        return engine

    monkeypatch.setattr(run, "start_engine", noted)
    few = [FEW, "train.head_only_baseline=false"]
    ptv2_scale.train(recipe, [f"run={tmp_path / 'first'}", *few])
    before = len(open_files())  # what libraries open once and keep is open by now
    ptv2_scale.train(recipe, [f"run={tmp_path / 'second'}", *few])
    with pytest.raises(ptv2_scale.UserError, match="not finite"):
        ptv2_scale.train(recipe, [f"run={tmp_path / 'bad'}", *few, "train.lr=1e30"])
    gc.collect()  # the error's own traceback has held the last one
    assert [reference() for reference in engines] == [None] * 6
    assert len(open_files()) == before


@pytest.mark.usefixtures("unchanged")
def test_an_interrupt_saves_and_the_run_goes_on(
    recipe: Path, printed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ptv2_scale.engine.trainer import Trainer

    made = Trainer.step

    def interrupted(self: Trainer, step: int, stop: bool) -> Any:
        if step == 1 and not stop:
            os.kill(os.getpid(), signal.SIGINT)
        return made(self, step, stop)

    monkeypatch.setattr(Trainer, "step", interrupted)
    with pytest.raises(ptv2_scale.Stopped, match="stopped by SIGINT after step") as stopped:
        ptv2_scale.train(recipe, [f"run={tmp_path / 'run'}", FEW])
    assert stopped.value.reason == "SIGINT"
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], status["exit_code"]) == ("stopped", 75)
    monkeypatch.undo()
    ptv2_scale.train(recipe, [f"run={tmp_path / 'run'}", FEW], resume="auto")
    assert exported(tmp_path / "run") == printed


@pytest.mark.usefixtures("unchanged")
def test_another_thread_can_train(recipe: Path, printed: bytes, tmp_path: Path) -> None:
    results: list[ptv2_scale.Result] = []
    refusals: list[str] = []

    def work() -> None:
        results.append(ptv2_scale.train(recipe, [f"run={tmp_path / 'run'}", FEW]))

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive() and not refusals:
        if api._running.locked():
            with pytest.raises(ptv2_scale.UserError) as refused:
                ptv2_scale.train(recipe, [f"run={tmp_path / 'other'}"])
            refusals.append(str(refused.value))
    thread.join()
    assert "another thread of this process trains" in refusals[0]
    assert exported(tmp_path / "run") == printed
    assert [result.steps for result in results] == [3]


@pytest.mark.usefixtures("unchanged")
def test_a_second_interrupt_is_pythons_own(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ptv2_scale.engine.trainer import Trainer

    def twice(self: Trainer, step: int, stop: bool) -> Any:
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Trainer, "step", twice)
    with pytest.raises(KeyboardInterrupt):
        ptv2_scale.train(recipe, [f"run={tmp_path / 'run'}", FEW])
    assert json.loads((tmp_path / "run" / "status.json").read_text())["exit_code"] == 130


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2",
          "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}, "rank 1 of 2"),
        ({"RANK": "first"}, "MASTER_ADDR is not set"),
    ],
)  # fmt: skip
def test_a_rank_of_several_is_refused(recipe: Path, environ: dict[str, str], message: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        with pytest.raises(ptv2_scale.UserError, match=message):
            ptv2_scale.train(recipe)


@pytest.mark.usefixtures("unchanged")
def test_mistakes_are_user_errors(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(ptv2_scale.UserError, match="no such file"):
        ptv2_scale.train(tmp_path / "none.yaml")
    nameless = load_recipe(recipe, ["run=null"])
    with pytest.raises(ptv2_scale.UserError, match="set run=PATH"):
        ptv2_scale.train(nameless)


@pytest.mark.usefixtures("unchanged")
def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = doctest.DocTestFinder().find(ptv2_scale.train, "train", globs={})
    assert len(example.examples) == 4
    assert doctest.DocTestRunner().run(example).failed == 0
    assert (tmp_path / "runs" / "four-steps" / "export").is_dir()
