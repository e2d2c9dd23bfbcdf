"""What is asked of the hub, what is made of its class numbers, what is said when it is away."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import datasets
import pytest

from ptv2_scale.data.sources import hub_rows, read_rows
from ptv2_scale.runtime.errors import UserError


def test_class_numbers_become_names(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    found = datasets.Dataset.from_dict(
        {"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features
    )

    def load(*names: Any, split: str) -> Any:
        asked.append((*names, split))
        return found

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert [row["label"] for row in hub_rows("some/set", "sub", "test")] == ["yes", "no", None]
    assert asked == [("some/set", "sub", "test")]


def test_offline_is_one_clear_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError) as error:
        hub_rows("aps/super_glue", "cb", "validation")
    assert "'validation' of aps/super_glue (cb)" in str(error.value)
    assert "Run `ptv2-scale fetch RECIPE` first" in str(error.value)
    assert "set task.path=FOLDER to read local files" in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b'{"text": "a"}', mtime=0), "is packed by gzip, and not text"),
        (b"PK\x03\x04\xff\xff", "is a zip archive or a spreadsheet, and not text"),
        (b"\xff\xfe", "not UTF-8 text (byte 1 of the line)"),
        (None, "is a folder; name a file in it"),
    ],
)
def test_what_is_no_file_of_text(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(said)):
        read_rows(path)
