"""Further tasks in the demo's language.

None of them took part in pre-training.  Reports are those of the demo's task: on four aspects,
service and food among them, without verdict lines.

- `written_verdicts`: the answer is a text, "service good . food poor .".  A pre-trained model that
  is asked for nothing goes on with verdict lines on all four aspects, in any order.
- `labelled_verdicts`: the answer is the verdict on service, good or poor.
- `judged_stay`: the answer is whether more aspects were good or poor; reports that are even in
  this are left out.
- `tagged_words`: a tag on every word that names an aspect or that carries an opinion of it.  Its
  rows are the embedded `demo-tags`.

Run `python -m ptv2_scale.demo.more_tasks TASK OUT` to write a task's two files into OUT.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

from ptv2_scale.demo.language import (
    COMMON_OPINIONS,
    NOUNS,
    OWN_OPINIONS,
    TASK_ASPECTS,
    VERDICTS,
    Report,
    write_task_report,
)

Row = dict[str, str] | dict[str, list[str]]
Answer = Callable[[Report], Row | None]
SEED = 23
SPLITS: Mapping[str, int] = {"train": 1200, "validation": 300}
ASPECTS: Mapping[str, str] = {noun: aspect for aspect, nouns in NOUNS.items() for noun in nouns}
OPINIONS: frozenset[str] = frozenset(
    word for said in (COMMON_OPINIONS, *OWN_OPINIONS.values()) for words in said.values()
    for word in words
)  # fmt: skip


def written_verdicts(report: Report) -> Row:
    """A report, and the verdict lines on service and food, in this order."""
    lines = (f"{aspect} {VERDICTS[report.verdicts[aspect]]} ." for aspect in TASK_ASPECTS)
    return {"input": " ".join(report.words), "target": " ".join(lines)}


def labelled_verdicts(report: Report) -> Row:
    """A report, and the word of the verdict on service."""
    return {
        "text": " ".join(report.words),
        "label": VERDICTS[report.verdicts[TASK_ASPECTS[0]]],
    }


def judged_stay(report: Report) -> Row | None:
    """A report, and good or poor, whatever was said of more aspects; None: of as many."""
    good = sum(report.verdicts.values())
    if 2 * good == len(report.verdicts):
        return None
    return {"text": " ".join(report.words), "label": VERDICTS[2 * good > len(report.verdicts)]}


def tagged_words(report: Report) -> Row:
    """A report's words, tagged: a thing by its aspect, an opinion by the verdict that it makes.

    "the soup was not awful" is O B-food O O B-good: what turns an opinion round stands before it.
    """
    tags, aspect = [], ""
    for word in report.words:
        aspect = ASPECTS.get(word, aspect)
        if word in OPINIONS:
            tags.append(f"B-{VERDICTS[report.verdicts[aspect]]}")
        else:
            tags.append(f"B-{aspect}" if word in ASPECTS else "O")
    return {"tokens": list(report.words), "tags": tags}


TASKS: Mapping[str, Answer] = {
    "written": written_verdicts,
    "labelled": labelled_verdicts,
    "stays": judged_stay,
    "tags": tagged_words,
}


def write_task(folder: Path, answer: Answer, sizes: Mapping[str, int]) -> Path:
    """Write a task's splits as JSON lines; no report occurs twice."""
    rng = Random(SEED)
    seen: set[tuple[str, ...]] = set()
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in sizes.items():
        rows: list[Row] = []
        while len(rows) < size:
            report = write_task_report(rng)
            row = None if report.words in seen else answer(report)
            if row is not None:
                seen.add(report.words)
                rows.append(row)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return folder


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the splits of a task into a folder, both named on the command line."""
    parser = argparse.ArgumentParser(description="Write a task in the demo's language.")
    parser.add_argument("task", choices=tuple(TASKS), help="which task")
    parser.add_argument("out", type=Path, help="folder for train.jsonl and validation.jsonl")
    options = parser.parse_args(arguments)
    write_task(options.out, TASKS[options.task], SPLITS)


if __name__ == "__main__":
    main()
