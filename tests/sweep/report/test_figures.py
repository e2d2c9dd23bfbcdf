"""Figures as files: what is in them, and that they are the same each time."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

import pytest
from sweep_trials import HOSTILE, ladder, trial

from ptv2_scale.history.canvas import short
from ptv2_scale.history.palette import COLOURS
from ptv2_scale.sweep.report.figures import draw
from ptv2_scale.sweep.report.plots import plots_of


def texts(svg: bytes) -> Iterator[str]:
    for node in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        yield "".join(node.itertext())


def test_a_figure_has_its_lines_and_labels() -> None:
    plot = plots_of(ladder())[0]
    files = draw(plot)
    assert list(files) == ["score-by-size.png", "score-by-size.svg"]
    assert files["score-by-size.png"].startswith(b"\x89PNG\r\n\x1a\n")
    svg = files["score-by-size.svg"]
    labels = {plot.title, plot.x_label, "rte", "accuracy", "full", "prompt", "one answer for all"}
    labels |= {"1M", "10M", "100M"}
    assert labels <= set(texts(svg))
    assert all(one.encode() in svg for one in COLOURS[:2])
    assert COLOURS[2].encode() not in svg
    assert draw(plot) == files


@pytest.mark.filterwarnings("error")
def test_any_name_can_be_drawn() -> None:
    trials = [
        trial({"task": "$x_", "method": name, "backbone": size}, 0.6)
        for name in HOSTILE
        for size in ("small", "base")
    ]
    found = set(texts(draw(plots_of(trials)[0])["score-by-size.svg"]))
    assert {short(name) for name in HOSTILE} <= found
    assert "$x_" in found
