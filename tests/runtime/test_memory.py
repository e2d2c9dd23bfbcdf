"""What a control group leaves of a host's memory."""

from __future__ import annotations

from pathlib import Path

from ptv2_scale.runtime import memory


def test_memory_of_a_job_is_what_its_groups_leave(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("0::/slurm/job_1\n")
    job = tmp_path / "slurm" / "job_1"
    job.mkdir(parents=True)
    for folder, most in ((tmp_path / "slurm", "8000"), (job, "max")):
        (folder / "memory.max").write_text(f"{most}\n")
        (folder / "memory.current").write_text("5000\n")
        (folder / "memory.stat").write_text("anon 3000\ninactive_file 1500\n")
    assert memory._job_memory(tmp_path, membership) == 4500
    (tmp_path / "slurm" / "memory.max").write_text("max\n")
    assert memory._job_memory(tmp_path, membership) is None
    assert memory._job_memory(tmp_path, tmp_path / "none") is None
