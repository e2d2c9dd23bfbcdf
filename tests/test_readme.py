"""What the README and the docs tell a reader to type works."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from glm_words import WORDS, words_tokenizer
from ranks import CHECKOUT
from readme import README, blocks
from tiny import save_backbone

from ptv2_scale import demo
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.cli import main, parse
from ptv2_scale.config import RunConfig, load_recipe
from ptv2_scale.export.card import Card
from ptv2_scale.export.native import write_export
from ptv2_scale.model.setup import first_values, open_setup

DOCUMENTS = [
    CHECKOUT / "README.md",
    CHECKOUT / "recipes" / "paper" / "README.md",
    *sorted((CHECKOUT / "docs").glob("*.md")),
]


def commands() -> list[str]:
    """Every command line of ours in the README and the docs."""
    lines = [line for path in DOCUMENTS for line in path.read_text().splitlines()]
    quoted = [code for line in lines for code in re.findall(r"`([^`]+)`", line)]
    inside = [line for path in DOCUMENTS for block in blocks(path.read_text(), "bash")
              for line in block.replace("\\\n", " ").splitlines()]  # fmt: skip
    ours = re.compile(r"(?:^|\s)(?:ptv2-scale|-?-m(?:odule)? ptv2_scale) (.+)")
    matches = filter(None, map(ours.search, quoted + inside))
    found = [re.split(r"  #| \| ", match[1])[0] for match in matches]
    # A command's name alone is no command line.
    return sorted({line for line in found if "[" not in line and " " in line})


@pytest.mark.parametrize("command", commands())
def test_command_lines_parse(command: str) -> None:
    assert parse(shlex.split(command)).command


def test_make_targets_exist() -> None:
    makefile = (CHECKOUT / "Makefile").read_text()
    named = re.findall(r"^make (\w+)", README, flags=re.MULTILINE)
    assert set(named) == {"demo", "test"}
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in named)


@pytest.mark.parametrize("number", range(len(blocks(README, "yaml"))))
def test_recipes_in_the_readme_load(number: int, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(blocks(README, "yaml")[number])
    assert load_recipe(path, []).backbone.name


@pytest.mark.parametrize("target", ["demo", "test", "check"])
def test_the_demo_installs_nothing_for_tests(target: str) -> None:
    """What make would do in a fresh clone."""
    argv = ["make", "--dry-run", "--always-make", target, "RANKS=2", "PORT=1"]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    installs = re.findall(r"pip install -c .venv/constraints.txt -e (\S+)", done.stdout)
    assert installs == ["."] if target == "demo" else installs == [".", "'.[dev]'"]


def test_pytorch_is_pinned_by_the_version_that_pip_knows(tmp_path: Path) -> None:
    """The wheel with CUDA is 2.13.0 to pip, and calls itself 2.13.0+cu130."""
    argv = ["make", "--dry-run", "--always-make", "setup"]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    lines = done.stdout.replace("\\\n", " ").splitlines()
    (writes,) = (line for line in lines if re.search(r"[^>]> \.venv/constraints\.txt$", line))
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("__version__ = '2.13.0+cu130'\n")
    (tmp_path / "torch-2.13.0.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\n"
    (tmp_path / "torch-2.13.0.dist-info" / "METADATA").write_text(metadata)
    scripts = tmp_path / ".venv" / "bin"
    scripts.mkdir(parents=True)
    (scripts / "python").symlink_to(sys.executable)
    found = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run(["bash", "-c", writes], cwd=tmp_path, env=found, check=True)
    assert (tmp_path / ".venv" / "constraints.txt").read_text() == "torch==2.13.0\n"


def launch(script: str, *overrides: str) -> str:
    """Run a script of launch/ on two ranks of the demo, three steps long."""
    steps = ("train.epochs=null", "train.steps=3")
    scripts = str(Path(sys.executable).parent)
    done = subprocess.run(
        [CHECKOUT / "launch" / script, "2", "demo", *steps, *overrides],
        env={**os.environ, "DS_ACCELERATOR": "cpu", "PATH": f"{scripts}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_demo_and_the_example_in_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    output = launch("local.sh", "evaluate.every=3")
    result = json.loads((tmp_path / "runs" / "demo" / "result.json").read_text())
    wanted = {"metric", "value", "trivial", "head_only", "trained_parameters",
              "backbone_parameters", "seconds", "peak_memory_bytes"}  # fmt: skip
    assert wanted <= result.keys()
    assert result["ranks"] == 2
    for reported in (
        "the most frequent class alone scores",
        "a head alone",
        "runs/demo/export",
        "next:",
    ):
        assert reported in output
    (example,) = blocks(README, "python")
    exec(compile(example, "README.md", "exec"), {})  # noqa: S102 - the reader would run it
    printed = capsys.readouterr().out
    assert "tensor([[" in printed
    assert printed.startswith("[{'label': ")


def test_the_sweep_of_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shortened by a file called demo: two methods on the smallest backbone, two steps each."""
    monkeypatch.chdir(tmp_path)
    sweep = yaml.safe_load(demo.SWEEP.read_text())
    for axis, labels in {"backbone": ["12k"], "method": ["P-Tuning v2", "head only"]}.items():
        sweep["axes"][axis] = {label: sweep["axes"][axis][label] for label in labels}
    sweep |= {"recipe": str(demo.RECIPE)}  # else it would be this file
    sweep["set"] |= {"train.steps": 2, "evaluate.every": 2}
    Path("demo").write_text(yaml.safe_dump(sweep, sort_keys=False))
    assert "ptv2-scale sweep demo " in README
    assert main(["sweep", "demo"]) == 0
    printed = capsys.readouterr().out
    assert "2 of 2 done" in printed
    assert Path("runs/sweeps/demo/report/report.html") in map(Path, printed.splitlines())


def test_the_example_of_filling_blanks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_backbone("glm_classic", Path("glm-10b"))
    words_tokenizer().save_pretrained("glm-10b")
    task = {"name": "demo", "head": "linear"}
    setup = open_setup(RunConfig.model_validate({"backbone": {"name": "./glm-10b"}, "task": task}))
    write_export(Path("runs/mine"), Card.of(setup, {}), NamedTensors(first_values(setup)))
    (example,) = blocks((CHECKOUT / "docs" / "runs.md").read_text(), "python")
    exec(compile(example, "runs.md", "exec"), {})  # noqa: S102 - the reader would run it
    # DeepSpeed, where a library imports it first here, says on standard output what it found.
    ((piece,),) = ast.literal_eval(capsys.readouterr().out.splitlines()[-1])
    assert piece
    assert set(piece.split()) <= {*WORDS}


@pytest.mark.parametrize("script", ["torchrun.sh", "accelerate.sh"])
def test_scripts_to_copy(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    launch(script, "train.head_only_baseline=false", "run=here")
    result = json.loads((tmp_path / "here" / "result.json").read_text())
    assert result["ranks"] == 2
    assert "head_only" not in result


@pytest.mark.parametrize("script", sorted((CHECKOUT / "launch").glob("*.sh")), ids=lambda p: p.name)
def test_a_launch_script_without_arguments_says_how(script: Path) -> None:
    done = subprocess.run([script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"launch/{script.name} " in done.stderr
    takes = " SWEEP.yaml" if script.name.startswith("sweep-") else " RECIPE [key=value ...]"
    assert takes in done.stderr
