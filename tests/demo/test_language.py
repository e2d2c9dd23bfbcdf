"""The demo's data is what its script makes, and a tokenizer of the shipped backbone knows it."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import AutoTokenizer

from ptv2_scale import demo
from ptv2_scale.demo.language import main

FOLDER = Path(demo.__file__).parent
SPLITS = ("train.jsonl", "validation.jsonl")


def test_the_script_makes_the_shipped_files(tmp_path: Path) -> None:
    main([str(tmp_path)])
    for name in SPLITS:
        assert (tmp_path / name).read_bytes() == (FOLDER / "task" / name).read_bytes()


def test_no_text_is_in_both_splits_and_labels_are_balanced() -> None:
    splits = [
        [json.loads(line) for line in (FOLDER / "task" / name).read_text().splitlines()]
        for name in SPLITS
    ]
    texts = [row["text"] for rows in splits for row in rows]
    assert len(set(texts)) == len(texts)
    for rows in splits:
        assert 0.45 < sum(row["label"] for row in rows) / len(rows) < 0.55


def test_every_word_is_in_the_backbones_vocabulary() -> None:
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "backbone")
    words = {
        word
        for name in SPLITS
        for line in (FOLDER / "task" / name).read_text().splitlines()
        for word in json.loads(line)["text"].split()
    }
    assert {word for word in words if tokenizer.convert_tokens_to_ids(word) in (None, 2)} == set()
    assert tokenizer.unk_token_id == 2
