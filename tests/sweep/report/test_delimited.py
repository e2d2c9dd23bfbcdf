"""Cells that a spreadsheet would take for formulas."""

from __future__ import annotations

import csv
import io

import pytest

from ptv2_scale.sweep.report.delimited import csv_text


@pytest.mark.parametrize("text", ["=cmd()", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_text_that_could_be_a_formula_begins_with_a_quote(text: str) -> None:
    assert read(csv_text([[text]])) == [[f"'{text}"]]


def test_numbers_and_other_texts_stand_as_they_are() -> None:
    row = ['say "hi", then go', "two\nlines", "größe", -0.5, 1e-05, None, "a=b"]
    expected = ['say "hi", then go', "two\nlines", "größe", "-0.5", "1e-05", "", "a=b"]
    assert read(csv_text([row])) == [expected]
    assert read(csv_text([["nul\0"]])) == [["nul"]]


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))
