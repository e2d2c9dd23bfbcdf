"""The wheel, installed where the repository is not: recipes, a run and predictions work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ranks
import recipe_files

# One process for all commands: each would import PyTorch anew.
STORY = """
import sys
from pathlib import Path
import ptv2_scale
from ptv2_scale.cli import main

assert Path(ptv2_scale.__file__).is_relative_to(sys.argv[1]), ptv2_scale.__file__
assert callable(ptv2_scale.launch)
small = ["train.epochs=null", "train.steps=1", "train.global_batch=4", "train.micro_batch=4"]
places = ["backbone.name=demo", "task.path=data", "run=run"]
for command in (
    ["recipes"],
    ["recipes", "copy", "own/classification"],
    ["recipes", "copy", "launch"],
    ["recipes", "copy", "docs", "documents"],
    ["inspect", "demo", "deepspeed=zero3"],
    ["train", "recipes/own/classification.yaml", *places, *small],
    ["predict", "run", "--input", "rows.jsonl", "--output", "labelled.jsonl"],
):
    assert main(command) == 0, command
"""


def installed(folder: Path) -> Path:
    """A folder with the package alone, as pip installs it from its wheel."""
    pytest.importorskip("hatchling", reason="hatchling is not installed, which builds the wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    flags = ["--no-deps", "--no-index"]
    build = [*pip, "wheel", *flags, "--no-build-isolation", "--wheel-dir", folder, ranks.CHECKOUT]
    subprocess.run(build, check=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", *flags, "--target", folder / "site", wheel], check=True)
    return folder / "site"


def test_a_wheel_has_all_that_a_first_hour_takes(tmp_path: Path) -> None:
    site, work = installed(tmp_path), tmp_path / "work"
    (work / "data").mkdir(parents=True)
    recipe_files.write_own("classification", work / "data")
    (work / "rows.jsonl").write_text('{"text": "w1 w2"}\n')
    done = subprocess.run(
        [sys.executable, "-c", STORY, site],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(site), "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "paper/glm-10b" in done.stdout
    assert '"prediction": {"label"' in (work / "labelled.jsonl").read_text()
    assert os.access(work / "launch" / "local.sh", os.X_OK)
    assert (work / "documents" / "runs.md").is_file()
    # Nothing that is no module of the package stands where one could be looked for.
    modules = {path.name for path in site.joinpath("ptv2_scale").iterdir() if path.is_dir()}
    own = {path.parent.name for path in ranks.CHECKOUT.glob("ptv2_scale/*/__init__.py")}
    assert modules - {"__pycache__"} == {*own, "shipped"}
