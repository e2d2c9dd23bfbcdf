"""What is loaded when a room is used: of the contracts in pyproject.toml, what users notice.

The contracts read the source; here Python itself says what it has imported.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "transformers", "deepspeed"}

_ALL_OF_A_ROOM = """
import importlib, pkgutil, sys
room = importlib.import_module(sys.argv[1])
for found in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
"""


def loaded(*words: str, folder: Path | None = None) -> set[str]:
    """Heavy packages that a Python process has imported at its end."""
    argv = [sys.executable, "-X", "importtime", *words]
    done = subprocess.run(
        argv, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(lines) > 20
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines} & HEAVY


def test_what_is_loaded_is_seen() -> None:
    assert "torch" in loaded("-c", "import torch")


def test_the_package_alone_loads_nothing() -> None:
    assert not loaded("-c", "import ptv2_scale")


def test_a_backbone_needs_no_deepspeed() -> None:
    assert loaded("-c", "from ptv2_scale import load_backbone") == {"torch", "transformers"}


def test_a_prompted_model_needs_no_deepspeed() -> None:
    assert loaded("-c", "from ptv2_scale import load_prompted") == {"torch", "transformers"}


@pytest.mark.parametrize("command", ["export", "inspect", "predict", "train", "launch", "doctor"])
def test_help_loads_none_of_them(command: str) -> None:
    assert not loaded("-m", "ptv2_scale", command, "--help")


def test_export_and_inspect_run_to_their_end_without_deepspeed(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(Path(__file__).with_name("fixtures") / "run-0.1.0", folder)
    for command in (("inspect", "recipe.yaml"), ("export", "run", "out")):
        assert "deepspeed" not in loaded("-m", "ptv2_scale", *command, folder=folder)
    assert (folder / "out" / "card.json").is_file()
    code = "from ptv2_scale import load_prompted; load_prompted('out')"
    assert "deepspeed" not in loaded("-c", code, folder=folder)


@pytest.mark.parametrize("room", ["runtime", "config", "hub", "launchers", "history"])
def test_rooms_without_pytorch(room: str) -> None:
    assert not loaded("-c", _ALL_OF_A_ROOM, f"ptv2_scale.{room}")
