"""Every mistake in a sweep file is named by file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptv2_scale import demo
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.sweep.load import load_sweep

MISTAKES = {
    "axess: 3": "2: axess: unknown key. Did you mean 'axes'? Allowed: recipe, name, folder,",
    "axes: {m: {a: {grid: {x: 2}}}}": "2: axes.m.a.grid.x: found 2 (int), expected a list of 1 or",
    "axes: {m: {a: 4}}": "2: axes.m.a: found 4 (int), expected a section of keys.",
    "axes: {m: []}": "2: axes.m: found a list, [], expected a section with 1 or more keys of your",
    "search: {trials: 3, keys: {k: {low: 3, high: 2}}}": "2: search.keys.k: low must be below high",
    "search: {trials: 3, keys: {k: {low: 0, high: 2, log: true}}}": "a logarithmic scale needs low",
    "search: {trials: 0, keys: {k: [1]}}": "2: search.trials: found 0 (int), expected a whole num",
    "search: {trials: 3}": "2: search.keys: missing, expected a section with 1 or more keys",
    "launch: {slurm: true, hostfile: x}": "launch.hostfile and launch.slurm contradict each other",
    "launch: {hosts: 2}": "2: launch.hosts: is for a hostfile's hosts. Add launch.hostfile, or",
    "launch: {nprok: 3}": "2: launch.nprok: unknown key. Did you mean 'nproc'?",
    "seeds: [1, 1]": "2: seeds: 1 is named 2 times; once is enough.",
    "recipe: demo": "1: recipe: written twice. Keep one.",
    "{": "cannot be read as YAML",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"recipe: demo\n{line}\n")
    with pytest.raises(UserError) as error:
        load_sweep(path)
    assert MISTAKES[line] in str(error.value)
    assert str(error.value).startswith(f"{path}:")


def test_all_mistakes_are_named_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("seeds: []\nlaunch: {at_once: 0}\n")
    with pytest.raises(UserError) as error:
        load_sweep(path)
    found = [line.partition(": ")[0] for line in str(error.value).splitlines()]
    assert found == [str(path), f"{path}:1", f"{path}:2"]  # the recipe that is missing first


def test_demo_is_the_embedded_sweep_unless_a_file_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = load_sweep(Path("demo"))
    assert (file.path, file.folder) == (demo.SWEEP, Path("runs/sweeps/demo"))
    Path("demo").write_text("recipe: demo\nseeds: [5]\n")
    assert load_sweep(Path("demo")).config.seeds == [5]


def test_a_sweep_is_called_after_its_file_and_has_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text("recipe: demo\n")
    file = load_sweep(path)
    assert (file.name, file.folder) == ("small", Path("runs/sweeps/small"))
    path.write_text("recipe: demo\nname: other\nfolder: here\n")
    file = load_sweep(path)
    assert (file.name, file.folder, file.place("folder")) == ("other", Path("here"), f"{path}:3")
