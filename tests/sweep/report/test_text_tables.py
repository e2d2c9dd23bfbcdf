"""Markdown and CSV of a small table, letter by letter."""

from __future__ import annotations

from ptv2_scale.sweep.report.tables import Entry, Table, number, word
from ptv2_scale.sweep.report.text_tables import markdown, table_rows

TABLE = Table(
    "scores",
    ("task", "a|b"),
    (
        (word("<script>*x*"), Entry("0.700 ± 0.100", 0.7, 0.1, best=True)),
        (word("two\nlines"), number(None)),
    ),
)


def test_a_table_as_markdown() -> None:
    assert markdown(TABLE).splitlines() == [
        "**scores**",
        "",
        r"| task | a\|b |",
        "| --- | ---: |",
        r"| \<script\>\*x\* | **0.700 ± 0.100** |",
        r"| two\\nlines | – |",
    ]


def test_a_table_as_rows_has_deviations_beside_the_means() -> None:
    assert list(table_rows(TABLE)) == [
        ["task", "a|b", "a|b deviation"],
        ["<script>*x*", 0.7, 0.1],
        ["two\nlines", None, None],
    ]
