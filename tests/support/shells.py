"""Programs in place of those that reach other hosts."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def fake_program(folder: Path, name: str) -> dict[str, str]:
    """A program in place of ssh or pdsh that hands the command to a shell, as sshd does."""
    script = folder / name
    script.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    script.chmod(0o755)
    seen = folder / "env"
    seen.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"open({str(folder / 'seen')!r}, 'a').write(json.dumps(sys.argv) + chr(10))\n"
    )
    seen.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
