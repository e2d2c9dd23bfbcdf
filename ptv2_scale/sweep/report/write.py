"""A report as files in a folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ptv2_scale.runtime.atomic import write_atomically
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.sweep.flags import Flag, flags_of
from ptv2_scale.sweep.records import TrialRecord
from ptv2_scale.sweep.report import figures
from ptv2_scale.sweep.report.delimited import csv_text
from ptv2_scale.sweep.report.page import page
from ptv2_scale.sweep.report.plots import Plot, plots_of
from ptv2_scale.sweep.report.tables import best_table, scores_table
from ptv2_scale.sweep.report.text_tables import escape, markdown, table_rows
from ptv2_scale.sweep.report.trials import trial_rows

TABLES = "tables.md"  # by which a folder of ours is known
FIGURES = "figures"


def write_report(records: Sequence[TrialRecord], folder: Path, title: str) -> None:
    """Write a sweep's report; an earlier one in the same folder is replaced.

    Args:
        records: all trials of the sweep, cell by cell; those that are not done yet, too.
        folder: of the report; it is made where it is not there.
        title: name of the sweep.

    Raises:
        UserError: the folder has other files, or cannot be written.
    """
    plots = plots_of(records)
    try:
        _refuse_foreign(folder)
        drawn = {name: file for plot in plots for name, file in figures.draw(plot).items()}
        (folder / FIGURES).mkdir(parents=True, exist_ok=True)
        for name, file in drawn.items():
            write_atomically(folder / FIGURES / name, file)
        for name, content in _texts(records, plots, title).items():
            write_atomically(folder / name, content)
        _remove_old(folder / FIGURES, drawn)
    except OSError as error:
        raise UserError(f"{folder}: the report cannot be written: {error.strerror}.") from None


def _remove_old(folder: Path, drawn: Collection[str]) -> None:
    """Take away figures of an earlier report that are none of this one's."""
    for path in folder.glob("score-by-*"):
        if path.name not in drawn:
            path.unlink()


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not (folder / TABLES).is_file() and any(folder.iterdir()):
        raise UserError(f"{folder}: has files that are not a report's. Name another folder.")


def _texts(records: Sequence[TrialRecord], plots: Sequence[Plot], title: str) -> Mapping[str, str]:
    scores, best, flags = scores_table(records), best_table(records), flags_of(records)
    parts = [f"# {escape(title)}\n", markdown(scores), markdown(best)]
    return {
        TABLES: "\n".join([*parts, *_flag_lines(flags)]),
        "report.html": page(title, records, (scores, best), plots, flags),
        "scores.csv": csv_text(table_rows(scores)),
        "best.csv": csv_text(table_rows(best)),
        "trials.csv": csv_text(trial_rows(records)),
    }


def _flag_lines(flags: Sequence[Flag]) -> list[str]:
    lines = [
        f"- {flag.kind}: {escape(' | '.join(filter(None, (flag.cell, flag.trial))))}:"
        f" {escape(flag.text)}"
        for flag in flags
    ]
    return ["**To be looked at**", "", *lines, ""] if lines else []
