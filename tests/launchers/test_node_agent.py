"""What runs on each host: secrets are kept for it alone, and it reports how its ranks ended."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ptv2_scale.launchers.node_agent import NodeReport, keep_secrets
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.launch_context import private_folder


def test_secrets_are_kept_for_the_owner_alone_and_taken_once(tmp_path: Path) -> None:
    name = f"test-{os.getpid()}"
    folder = private_folder(name, 3)
    try:
        keep_secrets(name, 3, b'{"HF_TOKEN": "t"}')
        assert (folder / "secrets").stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
        ran = subprocess.run(
            [sys.executable, "-m", "ptv2_scale.launchers.node_agent", "run", name, "3", "--run",
             str(tmp_path), "--until-eof", "--", "sh", "-c",
             "echo $HF_TOKEN; ls -A $PTV2_SCALE_RANKS; exit 75"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.stdout == "t\n"
        assert ran.returncode == 75
        assert NodeReport.read(ran.stderr) == NodeReport(3, 75, 0)
        assert not folder.exists()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_folder_that_others_could_use_is_refused() -> None:
    name = f"test-{os.getpid()}"
    folder = private_folder(name, 4)
    try:
        folder.chmod(0o777)
        with pytest.raises(UserError, match="not a private folder"):
            private_folder(name, 4)
    finally:
        folder.rmdir()
