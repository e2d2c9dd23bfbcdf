"""Ranks that read different things: refused before any weight is loaded, with host and file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import ranks
from points import sample
from safetensors.torch import load_file, save_file
from tiny import write_recipe


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What rank 0 has."""
    folder = tmp_path_factory.mktemp("first")
    write_recipe(folder, deepspeed="zero3", train={"steps": 2})
    return folder


def other_weights(folder: Path) -> None:
    path = folder / "backbone" / "model.safetensors"
    tensors = load_file(path)
    save_file({name: value + 0.5 for name, value in tensors.items()}, path, {"format": "pt"})


def one_row_less(folder: Path) -> None:
    path = folder / "data" / "train.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def labels_of_other_order(folder: Path) -> None:
    path = folder / "recipe.yaml"
    path.write_text(
        path.read_text().replace("  label: label\n", "  label: label\n  labels: ['yes', 'no']\n")
    )


def other_config(folder: Path) -> None:
    path = folder / "backbone" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "layer_norm_epsilon": 0.01}))


def other_tokenizer(folder: Path) -> None:
    path = folder / "backbone" / "tokenizer.json"
    path.write_text(path.read_text().replace('"w98"', '"v98"'))


def other_learning_rate(folder: Path) -> None:
    path = folder / "recipe.yaml"
    path.write_text(path.read_text().replace("lr: 0.01", "lr: 0.02"))


def copied(folder: Path, target: Path) -> Path:
    """A job somewhere else, its paths below itself."""
    shutil.copytree(folder, target)
    recipe = target / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(folder), str(target)))
    return target


def train(folder: Path, run: Path) -> tuple[str, ...]:
    return ("train", str(folder / "recipe.yaml"), f"run={run}")


def on_two_hosts(*commands: tuple[str, ...]) -> tuple[list[int | None], str]:
    """Run two ranks with a command line each; their codes, and all that they print."""
    port = ranks.free_port()
    started = [
        ranks.begin(("-m", "ptv2_scale", *words), ranks.environment(rank, 2, port))
        for rank, words in enumerate(commands)
    ]
    said = "".join(process.communicate(timeout=200)[0] for process in started)
    return [process.returncode for process in started], said


CASES = [
    (other_weights, "the weights in model.safetensors", "backbone/model.safetensors"),
    (one_row_less, "the rows of task.train", "data/train.jsonl"),
    (labels_of_other_order, "the recipe", ""),
    (other_config, "the backbone's config.json", "backbone/config.json"),
    (other_tokenizer, "the tokenizer", "backbone"),
    (other_learning_rate, "the recipe", ""),
]


@pytest.mark.parametrize(("change", "what", "file"), sample(CASES, 3))
def test_what_ranks_have_read_differently(
    change: Callable[[Path], None], what: str, file: str, first: Path, tmp_path: Path
) -> None:
    second, run = copied(first, tmp_path / "second"), tmp_path / "run"
    change(second)
    codes, said = on_two_hosts(*(train(folder, run) for folder in (first, second)))
    assert codes == [2, 2]
    assert f"(rank 0) differ in {what}:" in said
    assert str(first / file if file else "recipe") in said
    assert "Traceback" not in said
    assert not run.exists()


def test_the_same_in_other_places_is_the_same(first: Path, tmp_path: Path) -> None:
    folders = (first, copied(first, tmp_path / "second"))
    codes, said = on_two_hosts(*(train(folder, tmp_path / "run") for folder in folders))
    assert codes == [0, 0], said


def test_predictions_of_other_rows(first: Path, tmp_path: Path) -> None:
    run, output = tmp_path / "run", tmp_path / "out.jsonl"
    few = ("train.steps=1", "train.head_only_baseline=false")
    ranks.cli(1, *train(first, run), *few).must_succeed()
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for file, word in zip(files, ("w40", "w41"), strict=True):
        file.write_text(json.dumps({"text": f"w0 {word}"}) + "\n")
    command = ("predict", str(run), "--output", str(output), "--input")
    codes, said = on_two_hosts(*((*command, str(file)) for file in files))
    assert codes == [2, 2]
    assert "(rank 0) differ in the rows:" in said
    assert not output.exists()
