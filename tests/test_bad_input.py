"""Mistakes of the user: exit code 2, one clear message, no traceback, nothing overwritten."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ranks
from tiny import write_recipe

from ptv2_scale.cli import main

Spoil = Callable[[Path], None]


def snapshot(folder: Path) -> dict[Path, bytes | None]:
    return {p: p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job that would run: BERT with a position table of 160."""
    folder = tmp_path_factory.mktemp("pristine")
    write_recipe(folder, "bert")
    return folder


@pytest.fixture
def job(pristine: Path, tmp_path: Path) -> Path:
    """A copy of it to be spoilt; its data and recipe are its own, the backbone is not."""
    recipe = (pristine / "recipe.yaml").read_text()
    recipe = recipe.replace(f"{pristine}/data", f"{tmp_path}/data")
    (tmp_path / "recipe.yaml").write_text(recipe.replace(f"{pristine}/run", f"{tmp_path}/run"))
    (tmp_path / "data").mkdir()
    for path in (pristine / "data").iterdir():
        (tmp_path / "data" / path.name).write_bytes(path.read_bytes())
    return tmp_path


def data(name: str, content: str) -> Spoil:
    return lambda job: (job / "data" / name).write_text(content) and None


def nothing(job: Path) -> None:
    """The mistake is on the command line alone."""


ROW = '{"text": "w1", "label": "yes"}\n'

# what is spoilt, overrides, words of the message ({job}: the folder)
TRAIN: dict[str, tuple[Spoil, tuple[str, ...], tuple[str, ...]]] = {
    "missing recipe": (
        lambda job: (job / "recipe.yaml").unlink(),
        (),
        ("{job}/recipe.yaml",),
    ),
    "unknown key": (nothing, ("train.lrr=1",), ("train.lrr", "Did you mean", "lr")),
    "wrong value": (nothing, ("train.lr=fast",), ("train.lr", "fast")),
    "unknown task": (
        nothing,
        ("task={name: superglue/bolq}",),
        ("superglue/bolq", "Did you mean 'superglue/boolq'?"),
    ),
    "missing data folder": (nothing, ("task.path=/nowhere",), ("/nowhere",)),
    "missing data file": (
        lambda job: (job / "data/validation.jsonl").unlink(),
        (),
        ("{job}/data/validation.jsonl", "no such file"),
    ),
    "empty file": (data("train.jsonl", ""), (), ("{job}/data/train.jsonl", "no rows")),
    "broken JSONL": (
        data("train.jsonl", ROW + '{"text": "w1", '),
        (),
        ("{job}/data/train.jsonl:2", "not JSON"),
    ),
    "missing column": (
        data("train.jsonl", ROW + '{"texts": "w1", "label": "no"}\n'),
        (),
        ("{job}/data/train.jsonl:2", "no column 'text'", "Did you mean 'texts'?"),
    ),
    "label outside the set": (
        data("validation.jsonl", ROW + '{"text": "w1", "label": "ye"}\n'),
        ("task.labels=[no, yes]",),
        ("{job}/data/validation.jsonl:2", "'ye'", "no, yes", "Did you mean 'yes'?"),
    ),
    "missing label": (
        data("train.jsonl", ROW + '{"text": "w1", "label": NaN}\n' + ROW.replace("yes", "no")),
        (),
        ("{job}/data/train.jsonl:2", "no label", "found nan", "task.unlabelled: skip"),
    ),
    "scores for labels": (
        data("train.jsonl", ROW + '{"text": "w1", "label": 0.37}\n'),
        (),
        ("{job}/data/train.jsonl:2", "column 'label'", "0.37", "looks like a score"),
    ),
    "no text": (
        data("train.jsonl", ROW + '{"text": null, "label": "no"}\n'),
        (),
        ("{job}/data/train.jsonl:2", "column 'text'", "found None, expected text"),
    ),
    "a number for text": (
        data("validation.jsonl", ROW + '{"text": 7, "label": "no"}\n'),
        ("task.labels=[no, yes]",),
        ("{job}/data/validation.jsonl:2", "column 'text'", "found 7, expected text"),
    ),
    "longer than the position table": (
        nothing,
        ("prompt.length=100", "task.max_length=61"),
        ("100 prefix tokens and 61 text tokens", "room for 160"),
    ),
    "missing layer": (nothing, ("prompt.layers=2-4",), ("found layer 4", "3 layers")),
    "missing backbone folder": (
        nothing,
        ("backbone.name=./nowhere",),
        ("no folder './nowhere'",),
    ),
    "no backbone in the folder": (
        nothing,
        ("backbone.name={job}/data",),
        ("{job}/data", "no config.json"),
    ),
}


@pytest.mark.parametrize("case", TRAIN)
def test_train_refuses(case: str, job: Path, capsys: Any) -> None:
    spoil, overrides, words = TRAIN[case]
    spoil(job)
    before = snapshot(job)
    made = [text.replace("{job}", str(job)) for text in overrides]
    assert main(["train", str(job / "recipe.yaml"), *made]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("ptv2-scale: ")
    assert printed.err.count("ptv2-scale: ") == 1
    for word in words:
        assert word.replace("{job}", str(job)) in printed.err
    assert snapshot(job) == before


# Found only once the ranks have met, so these need processes of their own.


def run_alone(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ptv2_scale", *map(str, arguments)],
        env=ranks.environment(0, 1, ranks.free_port()),
        capture_output=True,
        text=True,
        check=False,
    )


def saved_nowhere(job: Path) -> tuple[str, ...]:
    return "prompt.init=saved", f"prompt.init_from={job}/data"


def existing_run(job: Path) -> tuple[str, ...]:
    (job / "run").mkdir()
    (job / "run/mine").write_text("precious")
    return ()


def below_a_file(job: Path) -> tuple[str, ...]:
    return (f"run={job}/recipe.yaml/run",)  # root may write anywhere, but not here


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (existing_run, ("{job}/run: exists already, and nothing is overwritten", "run=PATH")),
        (below_a_file, ("recipe.yaml/run", "is not a directory")),
        (saved_nowhere, ("{job}/data: no prefix found",)),
    ],
    ids=["existing run directory", "output that cannot be written", "nothing saved"],
)
def test_train_refuses_on_ranks(
    spoil: Callable[[Path], tuple[str, ...]], words: tuple[str, ...], job: Path
) -> None:
    overrides = spoil(job)
    before = snapshot(job)
    done = run_alone("train", job / "recipe.yaml", *overrides)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    messages = [line for line in done.stderr.splitlines() if line.startswith("ptv2-scale: ")]
    assert len(messages) == 1
    for word in words:
        assert word.replace("{job}", str(job)) in messages[0]
    assert snapshot(job) == before


def test_two_ranks_refuse_a_batch_they_do_not_divide(job: Path) -> None:
    before = snapshot(job)
    recipe = str(job / "recipe.yaml")
    arguments = ("-m", "ptv2_scale", "train", recipe, "train.global_batch=7")
    processes = ranks.start(2, arguments)
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [2, 2]
    assert "".join(outputs).count("ptv2-scale: ") == 1
    assert "Traceback" not in "".join(outputs)
    assert "7" in outputs[0]
    assert "train.global_batch" in outputs[0]
    assert snapshot(job) == before


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (None, "in.jsonl", ("{job}/in.jsonl", "no such file")),
        ("", "in.jsonl", ("{job}/in.jsonl", "no rows")),
        ("text\nw1\n", "in.xls", ("{job}/in.xls", "allowed: .jsonl, .csv")),
        ('{"text": "w1"}\n{"txt": "w1"}\n', "in.jsonl", ("{job}/in.jsonl:2", "no column 'text'")),
        ('{"text": 3}\n', "in.jsonl", ("{job}/in.jsonl:1", "found 3, expected text")),
        (
            '{"text": "w1"}\n{"text": "w2", "prediction": "mine"}\n',
            "in.jsonl",
            ("{job}/in.jsonl:2", "has a column 'prediction'", "--key NAME"),
        ),
    ],
    ids=["missing", "empty", "another kind", "missing column", "not text", "taken column"],
)
def test_predict_refuses(
    content: str | None, name: str, words: tuple[str, ...], job: Path, capsys: Any
) -> None:
    export = write_untrained_export(job)
    if content is not None:
        (job / name).write_text(content)
    before = snapshot(job)
    arguments = ["predict", str(export), "--input", str(job / name), "--output", str(job / "out")]
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.count("ptv2-scale: ") == 1
    for word in words:
        assert word.replace("{job}", str(job)) in printed.err
    assert snapshot(job) == before


def write_untrained_export(job: Path) -> Path:
    """An export of first values: there is no need to train for a mistake."""
    from ptv2_scale.backbones.tensor_files import NamedTensors
    from ptv2_scale.config import load_recipe
    from ptv2_scale.export.card import Card
    from ptv2_scale.export.native import write_export
    from ptv2_scale.model.setup import first_values, open_setup

    setup = open_setup(load_recipe(job / "recipe.yaml"))
    write_export(job / "export", Card.of(setup, {}), NamedTensors(first_values(setup)))
    return job / "export"


@pytest.mark.parametrize(
    "output", ["nowhere/out.jsonl", "recipe.yaml/out.jsonl", "recipe.yaml", "x" * 250]
)
def test_predict_refuses_an_output_it_cannot_write(output: str, job: Path, capsys: Any) -> None:
    export = write_untrained_export(job)
    before = snapshot(job)
    source = job / "data/validation.jsonl"
    arguments = ["predict", str(export), "--input", str(source), "--output", str(job / output)]
    assert main(arguments) == 2
    assert f"--output {job / output}" in capsys.readouterr().err
    assert snapshot(job) == before


def test_export_refuses_an_output_it_cannot_write(job: Path, capsys: Any) -> None:
    export = write_untrained_export(job)
    assert main(["export", str(export), str(job / "recipe.yaml/out")]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_what_is_no_run_is_refused(command: str, job: Path, capsys: Any) -> None:
    target = [str(job / "out")] if command == "export" else []
    assert main([command, str(job / "data"), *target]) == 2
    assert str(job / "data") in capsys.readouterr().err
    assert not (job / "out").exists()


def test_a_card_of_another_time_is_refused(job: Path, capsys: Any) -> None:
    export = write_untrained_export(job)
    card = json.loads((export / "card.json").read_text())
    (export / "card.json").write_text(json.dumps({**card, "format": 99}))
    assert main(["evaluate", str(export)]) == 2
    assert "format 99; this version reads 1" in capsys.readouterr().err
