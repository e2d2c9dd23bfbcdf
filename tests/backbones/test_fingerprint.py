"""A backbone's fingerprint: of its weights, and quick to have a second time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tiny import save_backbone

from ptv2_scale.backbones import fingerprint as module
from ptv2_scale.backbones.fingerprint import fingerprint
from ptv2_scale.backbones.load import open_backbone


def of(folder: Path) -> str:
    return fingerprint(open_backbone(str(folder)))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return save_backbone("llama", tmp_path / "backbone")


def flip_one_bit(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_copy_has_the_same_whatever_its_folder_is_called(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    assert of(tmp_path / "copy") == of(folder)


def test_one_bit_makes_another(folder: Path) -> None:
    before = of(folder)
    flip_one_bit(folder / "model.safetensors", -1)
    assert of(folder) != before
    flip_one_bit(folder / "model.safetensors", -1)
    assert of(folder) == before


def test_a_file_is_hashed_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    real = module.sha256_of

    def counting(path: Path) -> str:
        hashed.append(path)
        return real(path)

    monkeypatch.setattr(module, "sha256_of", counting)
    assert of(folder) == of(folder)
    assert hashed == [folder / "model.safetensors"]


def with_times_of(stat: os.stat_result, path: Path) -> None:
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_another_content_with_the_same_size_and_time(folder: Path) -> None:
    """As in images of containers whose files all have one time."""
    path = folder / "model.safetensors"
    before, stat = of(folder), path.stat()
    flip_one_bit(path, -1)
    with_times_of(stat, path)
    assert path.stat().st_mtime_ns == stat.st_mtime_ns
    assert of(folder) != before


def test_another_file_in_its_place_with_the_same_size_and_time(
    folder: Path, tmp_path: Path
) -> None:
    path, other = folder / "model.safetensors", tmp_path / "other.safetensors"
    before, stat = of(folder), path.stat()
    shutil.copy(path, other)
    flip_one_bit(other, 5000)
    other.replace(path)
    with_times_of(stat, path)
    assert of(folder) != before


def test_content_alone_tells_where_all_numbers_and_times_agree(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "model.safetensors"
    before, stat = of(folder), path.stat()
    flip_one_bit(path, 5000)
    real = Path.stat

    def same(self: Path, **options: bool) -> os.stat_result:
        return stat if self.name == path.name else real(self, **options)

    monkeypatch.setattr(Path, "stat", same)
    assert of(folder) != before


def test_a_damaged_cache_costs_time_only(folder: Path, tmp_path: Path) -> None:
    before = of(folder)
    entries = list((tmp_path / "cache" / "ptv2_scale").iterdir())
    assert len(entries) == 1
    for content in ("", "[]", '{"file": "another"}', '{"file'):
        entries[0].write_text(content)
        assert of(folder) == before


def test_no_cache_folder_can_be_made(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = of(folder)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert of(folder) == before
