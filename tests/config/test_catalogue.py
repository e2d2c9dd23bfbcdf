"""What travels with the package: found by the names that users give, and copied over nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import ranks

from ptv2_scale.cli import main
from ptv2_scale.config.catalogue import catalogue, copy, find, overview
from ptv2_scale.runtime.errors import UserError


def test_every_file_of_the_repository_can_be_copied() -> None:
    folders = {"recipes": "yaml", "launch": "sh", "docs": "md", "ds_configs": "json"}
    wanted = {path for name, suffix in folders.items()
              for path in (ranks.CHECKOUT / name).rglob(f"*.{suffix}")}  # fmt: skip
    files = {one.path for one in catalogue() if one.path.is_file()}
    demo = ranks.CHECKOUT / "ptv2_scale" / "demo" / "recipe.yaml"
    assert files == {*wanted, demo}
    assert len({one.name for one in catalogue()}) == len(catalogue())


def test_the_overview_leaves_nothing_out() -> None:
    shown = overview()
    covered = {one.path for one in shown} | {one.path.parent for one in shown}
    left = [one.name for one in catalogue() if one.path.is_file()
            and not covered & {one.path, one.path.parent}]  # fmt: skip
    assert left == []
    assert all(one.title and "\n" not in one.title for one in shown)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("minilm-rte", "recipes/minilm-rte.yaml"),
        ("recipes/paper/glm-10b/rte.yaml", "recipes/paper/glm-10b/rte.yaml"),
        ("launch/local.sh", "launch/local.sh"),
        ("paper/glm-10b/", "recipes/paper/glm-10b"),
        ("demo", "recipes/demo.yaml"),
    ],
)
def test_a_copy_lies_where_its_first_lines_expect_it(
    name: str,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["recipes", "copy", name]) == 0
    assert capsys.readouterr().out == f"{place}\n"
    source = find(name).path
    if source.is_dir():
        assert sorted(os.listdir(place)) == sorted(os.listdir(source))
    else:
        assert Path(place).read_bytes() == source.read_bytes()
        assert os.access(place, os.X_OK) == os.access(source, os.X_OK)


def test_a_name_or_a_folder_for_the_copy(tmp_path: Path) -> None:
    assert copy(find("minilm-rte"), tmp_path) == tmp_path / "minilm-rte.yaml"
    assert copy(find("minilm-rte"), tmp_path / "new" / "mine.yaml").is_file()
    assert (copy(find("launch"), tmp_path / "scripts") / "ssh.sh").is_file()


@pytest.mark.parametrize("name", ["minilm-rte", "paper/glm-2b"])
def test_nothing_is_overwritten(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    made = copy(find(name))
    mine = next(made.iterdir()) if made.is_dir() else made
    mine.write_text("mine")
    assert main(["recipes", "copy", name]) == 2
    assert f"{made}: exists already, and nothing is overwritten" in capsys.readouterr().err
    dangling = tmp_path / "link"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="exists already"):
        copy(find(name), dangling)
    assert mine.read_text() == "mine"


def test_a_copy_that_is_there_already_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a clone, whose recipes are those of the package."""
    monkeypatch.chdir(tmp_path)
    made = copy(find("own/classification"))
    before = made.stat()
    assert main(["recipes", "copy", "own/classification"]) == 0
    assert capsys.readouterr().out == "recipes/own/classification.yaml\n"
    assert made.stat() == before


def test_an_unknown_name_gets_a_guess(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "copy", "minilm-sst"]) == 2
    assert "Did you mean 'minilm-sst2'?" in capsys.readouterr().err
