"""A list of rows in one JSON document, or one row a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ptv2_scale.data.json_documents import read_json_rows
from ptv2_scale.data.sources import read_rows
from ptv2_scale.runtime.errors import UserError

ROWS = [{"tokens": ["a", "b"], "tags": ["O", "O"]}, {"tokens": ["c"], "tags": ["O"]}]


def read(folder: Path, content: str) -> list[dict[str, object]]:
    path = folder / "a.json"
    path.write_text(content)
    return read_rows(path, ("tokens",), readers={".json": read_json_rows})


def test_both_forms(tmp_path: Path) -> None:
    forms = (
        json.dumps(ROWS), json.dumps(ROWS, indent=1), "\ufeff" + json.dumps(ROWS),
        "\n".join(map(json.dumps, ROWS)),
    )  # fmt: skip
    for content in forms:
        rows = read(tmp_path, content)
        assert rows == ROWS
        assert rows[1].place == f"{tmp_path}/a.json:row 2"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("content", "reported"),
    [
        ('[{"tokens": []},\n{"tokens": [}]', "a.json:2: not JSON"),
        ('[{"tokens": []}, 3]', "a.json:row 2: found 3, expected a JSON object"),
        ('{"tokens": []}\n{"tokens"}', "a.json:2: not JSON"),
        ("[" * 5000 + "]" * 5000, "nested too deeply"),
        ('[{"words": []}]', "a.json:row 1: no column 'tokens'"),
    ],
)
def test_mistakes(tmp_path: Path, content: str, reported: str) -> None:
    with pytest.raises(UserError, match=reported):
        read(tmp_path, content)
