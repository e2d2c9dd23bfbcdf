"""Further tasks in the demo's language, whose answers are words of it.

None of them took part in pre-training.  Reports are those of the demo's task: on four aspects,
service and food among them, without verdict lines.

- `written_verdicts`: the answer is a text, "service good . food poor .".  A pre-trained model that
  is asked for nothing goes on with verdict lines on all four aspects, in any order.
- `labelled_verdicts`: the answer is the verdict on service, good or poor.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

from ptv2_scale.demo.language import TASK_ASPECTS, VERDICTS, Report, write_task_report

Row = dict[str, str]
Answer = Callable[[Report], Row]
SEED = 23


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


def write_task(folder: Path, answer: Answer, sizes: Mapping[str, int]) -> Path:
    """Write a task's splits as JSON lines; no report occurs twice."""
    rng = Random(SEED)
    seen: set[tuple[str, ...]] = set()
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in sizes.items():
        reports: list[Report] = []
        while len(reports) < size:
            report = write_task_report(rng)
            if report.words not in seen:
                seen.add(report.words)
                reports.append(report)
        lines = "".join(json.dumps(answer(report)) + "\n" for report in reports)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return folder
