"""A rank's output: on the terminal with host and rank, and in a log that outlives the rank."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ptv2_scale.runtime.rank_output import log_name
from ptv2_scale.runtime.status import Status, last_words

TALK = """
    import os, sys
    from pathlib import Path
    from ptv2_scale.runtime import rank_output as output
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    output.redirect(rank)
    print("begun", flush=True)
"""


def talk(rank: int, folder: Path, program: str, **options: object) -> subprocess.CompletedProcess:
    """Run a rank that says what `program` says."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(TALK) + textwrap.dedent(program), str(rank), folder],
        env={**os.environ, "PTV2_SCALE_HOST": "node7"}, timeout=60, text=True, check=False,
        **{"capture_output": True, **options},
    )  # fmt: skip


def log(folder: Path, rank: int) -> str:
    return (folder / "logs" / log_name(rank)).read_text()


def test_the_first_rank_speaks_plainly_others_with_their_names(tmp_path: Path) -> None:
    said = 'output.open_log(folder / "logs"); print("out"); print("err", file=sys.stderr)\n'
    first, other = (talk(rank, tmp_path, said + "output.restore()") for rank in (0, 3))
    assert (first.stdout, first.stderr) == ("begun\nout\n", "err\n")
    assert other.stdout == "[node7 rank 3] begun\n[node7 rank 3] out\n"
    assert other.stderr == "[node7 rank 3] err\n"
    for rank in (0, 3):
        heading, *lines = log(tmp_path, rank).splitlines()
        assert re.fullmatch(rf"=== .*, node7, process \d+, rank {rank} of 1", heading)
        assert sorted(lines) == ["begun", "err", "out"]


@pytest.mark.parametrize(
    ("death", "code"), [("os.abort()", -signal.SIGABRT), ("os.kill(os.getpid(), 9)", -9)]
)
def test_the_last_words_of_a_killed_rank_survive(tmp_path: Path, death: str, code: int) -> None:
    ended = talk(
        2, tmp_path, f'output.open_log(folder / "logs"); os.write(2, b"C code: lost\\n"); {death}'
    )
    assert ended.returncode == code
    assert "C code: lost" in log(tmp_path, 2)
    assert "[node7 rank 2] C code: lost" in ended.stderr


def test_the_end_does_not_wait_for_duplicates_that_libraries_keep(tmp_path: Path) -> None:
    program = (
        'output.open_log(folder / "logs"); output._DRAIN_S = 600; kept = os.dup(2); print("said");'
        'output.restore(); print((folder / "logs/rank-00000.log").read_text().splitlines()[1:]);'
        'os.write(kept, b"late\\n")'
    )
    ended = talk(0, tmp_path, program)
    assert ended.stdout == "begun\nsaid\n['begun', 'said']\n"
    assert ended.stderr == "late\n"


def test_a_second_start_adds_to_the_log(tmp_path: Path) -> None:
    for word in ("one", "two"):
        talk(0, tmp_path, f'output.open_log(folder / "logs"); print("{word}"); output.restore()')
    said = [line for line in log(tmp_path, 0).splitlines() if not line.startswith("===")]
    assert said == ["begun", "one", "begun", "two"]


def test_without_a_run_there_is_no_log(tmp_path: Path) -> None:
    assert talk(1, tmp_path, "output.restore()").stdout == "[node7 rank 1] begun\n"
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "mine").write_text("mine\n")
    (tmp_path / "logs" / log_name(0)).symlink_to(tmp_path / "mine")
    ended = talk(0, tmp_path, 'output.open_log(folder / "logs"); print("said"); output.restore()')
    assert "there is no log" in ended.stderr
    assert (tmp_path / "mine").read_text() == "mine\n"


def test_a_terminal_that_has_gone_does_not_end_a_rank(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    program = 'output.open_log(folder / "logs"); [print(n, flush=True) for n in range(5000)]'
    ended = talk(1, tmp_path, program + "; output.restore()", capture_output=False, stdout=writing)
    os.close(writing)
    assert ended.returncode == 0
    assert log(tmp_path, 1).splitlines()[-1] == "4999"


def test_a_terminal_that_takes_nothing_does_not_stop_a_rank(tmp_path: Path) -> None:
    reading, writing = os.pipe()  # nobody reads
    program = 'output.open_log(folder / "logs"); [print("x" * 99, flush=True) for n in range(5000)]'
    ended = talk(1, tmp_path, program + "; os._exit(5)", capture_output=False, stdout=writing)
    for end in (reading, writing):
        os.close(end)
    assert ended.returncode == 5
    # The relay is a process of its own: it may still be writing.
    assert log(tmp_path, 1).count("x" * 99) > 100


def test_a_bar_is_drawn_on_a_terminal_and_its_last_state_is_logged(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    program = (
        'output.open_log(folder / "logs"); print(output.terminal_width() is not None, flush=True);'
        'sys.stderr.write("1/3\\r2/3\\r3/3\\n"); output.restore()'
    )
    ended = talk(0, tmp_path, program, capture_output=False, stdout=subprocess.PIPE, stderr=theirs)
    assert ended.stdout == "begun\nTrue\n"
    assert os.read(ours, 100) == b"1/3\r2/3\r3/3\r\n"
    assert "3/3" in log(tmp_path, 0)
    assert "1/3" not in log(tmp_path, 0)


def test_last_words(tmp_path: Path) -> None:
    detail = "\n".join(f"line {number}" for number in range(40))
    failed = Status("failed", 3, 7, "rank 1 on b failed", detail, 1)
    words = last_words(failed, tmp_path).splitlines()
    assert words[0] == "rank 1 on b failed"
    assert words[-2:] == ["line 39", f"log: {tmp_path}/logs/rank-00001.log"]
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / log_name(1)).write_text("Segmentation fault\x1b[2J\n")
    killed = Status("failed", 3, 7, "rank 1 on b was killed or crashed", "", 1)
    assert "  Segmentation fault\\x1b[2J" in last_words(killed, tmp_path).splitlines()
    assert last_words(Status("done", 0, 7), tmp_path) == ""


def test_a_line_that_a_crash_has_cut_ends_before_the_next_heading(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / log_name(1)).write_text("=== then\nstep 3, lo")
    talk(1, tmp_path, "output.open_log(folder / 'logs'); output.restore()")
    lines = log(tmp_path, 1).splitlines()
    assert lines[1] == "step 3, lo"
    assert lines[2].startswith("=== ")
    assert lines[2].endswith("rank 1 of 1")
