"""Tiny files in the form that a shipped recipe reads, of the words that tiny backbones know."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiny import WORDS

ROWS = 4


def _words(number: int, count: int = 6) -> list[str]:
    return [WORDS[(7 * number + place) % len(WORDS)] for place in range(count)]


def _json_lines(
    folder: Path, row: Callable[[int], dict[str, Any]], validation: str = "val"
) -> None:
    for name in ("train.jsonl", f"{validation}.jsonl"):
        (folder / name).write_text("".join(json.dumps(row(n)) + "\n" for n in range(ROWS)))


def _rte(number: int) -> dict[str, Any]:
    premise, hypothesis = " ".join(_words(number)), " ".join(_words(number, 3))
    label = ("entailment", "not_entailment")[number % 2]
    return {"premise": premise, "hypothesis": hypothesis, "label": label, "idx": number}


def _copa(number: int) -> dict[str, Any]:
    texts = ("premise", "choice1", "choice2")
    row: dict[str, Any] = {key: " ".join(_words(number + n, 4)) for n, key in enumerate(texts)}
    return {**row, "question": ("cause", "effect")[number % 2], "label": number % 2, "idx": number}


def _pair(number: int) -> dict[str, Any]:
    return {"input": " ".join(_words(number)), "target": " ".join(_words(number, 3))}


def _roles(number: int) -> str:
    return f"1 {' '.join(_words(number, 4))} ||| B-A0 B-V B-A1 I-A1\n"


def _paragraph(number: int) -> dict[str, Any]:
    words = _words(number, 8)
    start = len(" ".join(words[:2])) + 1
    answer = {"text": " ".join(words[2:4]), "answer_start": start}
    known = {"id": f"a{number}", "question": words[1], "answers": [answer], "is_impossible": False}
    unknown = {"id": f"b{number}", "question": WORDS[-1], "answers": [], "is_impossible": True}
    return {"context": " ".join(words), "qas": [known, unknown]}


def write_rte(folder: Path) -> None:
    """SuperGLUE's train.jsonl and val.jsonl of RTE."""
    _json_lines(folder, _rte)


def write_copa(folder: Path) -> None:
    """SuperGLUE's train.jsonl and val.jsonl of COPA."""
    _json_lines(folder, _copa)


def write_roles(folder: Path) -> None:
    """The files of CoNLL 2005 and CoNLL 2012 as P-Tuning v2's pack of data has them."""
    for year in ("conll05", "conll2012"):
        for split in ("train", "devel"):
            (folder / f"{year}.{split}.txt").write_text("".join(map(_roles, range(ROWS))))


def write_squad2(folder: Path) -> None:
    """train-v2.0.json and dev-v2.0.json of SQuAD 2.0."""
    paragraphs = [_paragraph(number) for number in range(ROWS // 2)]
    document = {"version": "v2.0", "data": [{"title": "words", "paragraphs": paragraphs}]}
    for name in ("train-v2.0.json", "dev-v2.0.json"):
        (folder / name).write_text(json.dumps(document))


def write_texts(folder: Path) -> None:
    """Pairs of texts, as recipes/llm reads them."""
    _json_lines(folder, _pair, "validation")


def _labelled(number: int) -> str:
    return f"{' '.join(_words(number))},{'abc'[number % 3]}\n"


def _scored(number: int) -> str:
    return f"{' '.join(_words(number))},{' '.join(_words(number + 1))},{number / 2}\n"


def _quiz(number: int) -> dict[str, Any]:
    options = [" ".join(_words(number + n, 2)) for n in range(3)]
    texts = {"context": " ".join(_words(number)), "question": " ".join(_words(number, 2))}
    return {**texts, "options": options, "answer": number % 3}


def _asked(number: int) -> dict[str, Any]:
    answer = {"text": [WORDS[(7 * number) % len(WORDS)]], "answer_start": [0]}
    return {"question": WORDS[-1], "context": " ".join(_words(number)), "answers": answer}


def _tagged(number: int) -> str:
    words = zip(_words(number, 4), ("O", "B-A", "I-A", "O"), strict=True)
    return "".join(f"{word} {tag}\n" for word, tag in words) + "\n"


def _text_files(folder: Path, suffix: str, heading: str, row: Callable[[int], str]) -> None:
    for split in ("train", "dev"):
        (folder / f"{split}.{suffix}").write_text(heading + "".join(map(row, range(ROWS))))


def write_own(kind: str, folder: Path) -> None:
    """What recipes/own/KIND.yaml reads; of `several`, in folders below it."""
    if kind == "several":
        for name, inner in (("topics", "classification"), ("names", "tagging")):
            (folder / name).mkdir()
            write_own(inner, folder / name)
    elif kind == "classification":
        _text_files(folder, "csv", "text,label\n", _labelled)
    elif kind == "regression":
        _text_files(folder, "csv", "text,text_pair,score\n", _scored)
    elif kind == "tagging":
        _text_files(folder, "conll", "", _tagged)
    elif kind == "text":
        write_texts(folder)
    else:
        _json_lines(folder, {"choice": _quiz, "span": _asked}[kind], "dev")
