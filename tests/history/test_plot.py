"""The picture of runs, read back from its SVG."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from run_folders import make_run

from ptv2_scale.history.curves import Curves, curves_of
from ptv2_scale.history.palette import COLOURS
from ptv2_scale.history.plot import draw_runs
from ptv2_scale.history.runs import read_run
from ptv2_scale.runtime.errors import UserError

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: bytes) -> set[str]:
    return {"".join(node.itertext()) for node in ElementTree.fromstring(svg).iter(f"{SVG}text")}


def lengths(svg: bytes, colour: str) -> list[int]:
    """Points of each line of a colour; marker shapes are not clipped to the axes."""
    found = []
    for node in ElementTree.fromstring(svg).iter(f"{SVG}path"):
        style = node.get("style", "")
        if f"stroke: {colour}" in style and node.get("clip-path"):
            found.append(node.get("d", "").count("L") + 1)
    return found


def test_two_runs_in_one_picture(tmp_path: Path) -> None:
    runs = [read_run(make_run(tmp_path / name)) for name in ("one", "two")]
    svg = draw_runs(curves_of(runs), "svg")
    titles = {"loss (marked: validation)", "validation accuracy", "validation f1", "learning rate"}
    assert titles | {"one", "two", "step", "one answer for all"} <= texts(svg)
    for colour in COLOURS[:2]:
        # Two evaluations' loss and two metrics; eight steps of loss and of the learning rate.
        assert sorted(lengths(svg, colour)) == [2, 2, 2, 8, 8]
    assert draw_runs(curves_of(runs), "svg") == svg
    assert draw_runs(curves_of(runs), "png").startswith(b"\x89PNG\r\n\x1a\n")


def test_a_run_that_has_measured_nothing_and_any_name_can_be_drawn() -> None:
    curves = [Curves("_$x", (), (), ()), Curves("β" * 90, ((1, float("nan")),), (), ())]
    assert {" _$x", "β" * 39 + "…"} <= texts(draw_runs(curves, "svg"))


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"pip install 'ptv2_scale\[plot\]'"):
        draw_runs([Curves("a", (), (), ())], "png")
