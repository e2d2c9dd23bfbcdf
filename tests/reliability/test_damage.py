"""Every file of a checkpoint, harmed in every way: found, set aside, the previous one taken."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from job import Job
from points import EVERYTHING

from ptv2_scale.checkpoint.compatibility import RunContent
from ptv2_scale.checkpoint.file_systems import alone
from ptv2_scale.checkpoint.resume import find_start, open_run
from ptv2_scale.checkpoint.run_directory import NewDirectory
from ptv2_scale.checkpoint.store import read_state
from ptv2_scale.config import load_recipe
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.run_identity import RunIdentity

FILES = ("part-00000-of-00002.safetensors", "part-00001-of-00002.safetensors",
         "trainer.json", "manifest.json")  # fmt: skip


def truncated(path: Path, _: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def cut_in_half(path: Path, _: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def deleted(path: Path, _: Path) -> None:
    path.unlink()


def swapped(path: Path, other: Path) -> None:
    shutil.copy(other / path.name, path)


def empty(path: Path, _: Path) -> None:
    path.write_bytes(b"")


def linked_elsewhere(path: Path, other: Path) -> None:
    path.unlink()
    path.symlink_to(other / path.name)


HARMS = (truncated, cut_in_half, deleted, swapped, empty, linked_elsewhere)


def content(job: Job, fingerprint: str) -> RunContent:
    return RunContent(load_recipe(job.run / "recipe.yaml", []), fingerprint, RunIdentity())


def resume(job: Job) -> tuple[str, list[str]]:
    """What a resumed run begins from, and what it has set aside."""
    config = load_recipe(job.run / "recipe.yaml", [])
    state = read_state(job.run / "checkpoints" / "step-00000004")
    found = find_start(job.run, "auto", content(job, state.fingerprint), alone())
    opened = open_run(job.run, found, config, alone(), NewDirectory(job.run))
    assert opened.path is not None
    return opened.path.name, [str(one.path.name) for one in opened.skipped]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", HARMS)
def test_harm_is_found_and_the_previous_checkpoint_taken(
    name: str, harm: Callable[[Path, Path], None], copied: Job, record: Callable[..., None]
) -> None:
    newest = copied.run / "checkpoints" / "step-00000008"
    harm(newest / name, newest.with_name("step-00000004"))
    with pytest.raises(UserError, match="not a valid checkpoint"):
        find_start(copied.run, str(newest), content(copied, ""), alone())
    assert resume(copied) == ("step-00000004", ["step-00000008.damaged"])
    assert (newest.with_name("step-00000008.damaged") / name).exists() or harm is deleted
    record("damage", file=name, harm=harm.__name__.replace("_", " "), found=1, of=1)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found(name: str, copied: Job, record: Callable[..., None]) -> None:
    newest = copied.run / "checkpoints" / "step-00000008"
    content = (newest / name).read_bytes()
    bits = len(content) * 8
    generator = torch.Generator().manual_seed(5)
    tried = torch.randint(bits, (400 if EVERYTHING else 40,), generator=generator).tolist()
    for bit in tried:
        harmed = bytearray(content)
        harmed[bit // 8] ^= 1 << bit % 8
        (newest / name).write_bytes(bytes(harmed))
        assert resume(copied) == ("step-00000004", ["step-00000008.damaged"]), f"bit {bit}"
        newest.with_name("step-00000008.damaged").rename(newest)
    record("damage", file=name, harm="one bit flipped", found=len(tried), of=len(tried))


def test_a_damaged_checkpoint_is_reported_and_the_run_ends_as_it_would(
    copied: Job, whole: Job
) -> None:
    newest = copied.run / "checkpoints" / "step-00000008"
    truncated(newest / FILES[1], newest)
    printed = copied.go_on()
    assert "set aside a damaged checkpoint" in printed
    assert f"{FILES[1]} has" in printed
    assert copied.result() == whole.result()
    assert "step-00000008.damaged" in copied.checkpoints()
