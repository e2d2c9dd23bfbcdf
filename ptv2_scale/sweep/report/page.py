"""A report as one HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ptv2_scale.history import palette
from ptv2_scale.runtime.errors import printable
from ptv2_scale.sweep.flags import Flag
from ptv2_scale.sweep.records import TrialRecord, by_cell
from ptv2_scale.sweep.report import charts
from ptv2_scale.sweep.report.plots import Plot
from ptv2_scale.sweep.report.runs import RunTexts, texts_of
from ptv2_scale.sweep.report.tables import Table, byte_words

_PACKAGE = "ptv2_scale.sweep.report"


def page(
    title: str,
    records: Sequence[TrialRecord],
    tables: Sequence[Table],
    plots: Sequence[Plot],
    flags: Sequence[Flag],
) -> str:
    """The page; every text in it is escaped, and nothing in it is fetched or sent.

    Args:
        title: name of the sweep.
        records: all trials, whose recipes, metrics and logs are read.
        tables: in their order.
        plots: in their order.
        flags: warnings.
    """
    style, script = _asset("report.css") + _colours(), _asset("report.js")
    cells = by_cell(records)
    trials = {id(one): number for number, one in enumerate(records)}
    return _environment().get_template("report.html.j2").render(
        title=title,
        policy=_policy(style, script),
        style=style,
        script=script,
        tables=tables,
        charts=[one for plot in plots for one in charts.charts_of(plot)],
        frame=charts,
        flags=flags,
        cells=_with_texts(cells, texts_of(records), trials),
        cell_number={cell: number for number, cell in enumerate(cells)},
        trial_number=lambda one: trials[id(one)],
        trial_named={(one.cell, one.name): trials[id(one)] for one in records},
        flags_of_cell=_by_cell(flags),
    )  # fmt: skip


def _environment() -> Environment:
    loader = PackageLoader(_PACKAGE)
    found = Environment(
        autoescape=True,
        finalize=_shown,
        loader=loader,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["bytes"] = byte_words
    return found


def _shown(value: object) -> object:
    """What stands for a value: control characters of anyone's text are shown as \\x1b."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "\n".join(map(printable, value.split("\n")))


def _asset(name: str) -> str:
    return (files(_PACKAGE) / "templates" / name).read_text(encoding="utf-8")


def _colours() -> str:
    return "\n".join(
        f".c{number} {{ fill: {one}; stroke: {one}; }}"
        for number, one in enumerate(palette.COLOURS)
    )


def _policy(style: str, script: str) -> str:
    """A policy under which the page's own style and script work, and nothing else."""

    def digest(text: str) -> str:
        found = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        return f"'sha256-{found}'"

    return (
        f"default-src 'none'; style-src {digest(style)}; script-src {digest(script)};"
        " base-uri 'none'; form-action 'none'"
    )


Run = tuple[int, TrialRecord, RunTexts]


def _with_texts(
    cells: Mapping[str, Sequence[TrialRecord]],
    texts: Sequence[RunTexts],
    trials: Mapping[int, int],
) -> list[tuple[str, list[Run]]]:
    return [
        (cell, [(trials[id(one)], one, texts[trials[id(one)]]) for one in own])
        for cell, own in cells.items()
    ]


def _by_cell(flags: Sequence[Flag]) -> Mapping[str, list[Flag]]:
    found: dict[str, list[Flag]] = defaultdict(list)
    for flag in flags:
        found[flag.cell].append(flag)
    return found
