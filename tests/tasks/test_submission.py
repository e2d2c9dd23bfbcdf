"""Files for leaderboards, against lines written by hand after their instructions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Leaderboard, Task
from ptv2_scale.tasks.catalogue import BENCHMARKS

TaskOf = Callable[..., Task]
Written = Callable[..., tuple[str, list[str]]]


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., tuple[str, list[str]]]:
    """Writes a published file of rows, to whose own columns the benchmark's texts are added."""

    def write(
        task: Task, board: Leaderboard, source: str, rows: list[dict[str, Any]], records: list[Any]
    ) -> tuple[str, list[str]]:
        published = {name: old for old, name in BENCHMARKS[task.name].rename.items()}
        texts = {published.get(name, name): "cause" for name in task.columns}
        full = [{**texts, **row} for row in rows]
        lines = list(map(json.dumps, full))
        if board == "glue":
            lines = ["\t".join(full[0]), *("\t".join(map(str, row.values())) for row in full)]
        (tmp_path / source).write_text("\n".join(lines) + "\n")
        made = task.submission(board, tmp_path / source)
        assert len(made.rows) == len(rows)
        return made.file, made.lines(records)

    return write


@pytest.mark.parametrize(
    ("name", "source", "row", "answer", "file", "line"),
    [
        ("glue/cola", "test.tsv", {"index": "7"}, "1", "CoLA.tsv", "7\t1"),
        ("glue/sst2", "test.tsv", {"index": "0"}, "0", "SST-2.tsv", "0\t0"),
        ("glue/qqp", "test.tsv", {"id": "390964"}, "1", "QQP.tsv", "390964\t1"),
        ("glue/rte", "test.tsv", {"index": "3"}, "not_entailment", "RTE.tsv", "3\tnot_entailment"),
        ("glue/qnli", "test.tsv", {"idx": 5}, "entailment", "QNLI.tsv", "5\tentailment"),
        ("glue/wnli", "dev.tsv", {}, "1", "WNLI.tsv", "0\t1"),
        ("glue/mnli", "test_matched.tsv", {"index": "1"}, "neutral", "MNLI-m.tsv", "1\tneutral"),
        ("glue/mnli", "test_mismatched.tsv", {"id": 1}, "neutral", "MNLI-mm.tsv", "1\tneutral"),
        ("glue/mnli_mismatched", "x.tsv", {"index": "1"}, "neutral", "MNLI-mm.tsv", "1\tneutral"),
        ("glue/mnli", "diagnostic.tsv", {"index": "1"}, "neutral", "AX.tsv", "1\tneutral"),
    ],
)  # fmt: skip
def test_glue(
    task_of: TaskOf,
    written: Written,
    name: str,
    source: str,
    row: dict[str, Any],
    answer: str,
    file: str,
    line: str,
) -> None:
    found = written(task_of(name=name), "glue", source, [row], [{"label": answer}])
    assert found == (file, ["index\tprediction", line])


def test_stsb_keeps_to_its_range(task_of: TaskOf, written: Written) -> None:
    rows = [{"index": str(number)} for number in range(3)]
    records = [{"score": score} for score in (-0.2, 3.14159, 5.5)]
    file, lines = written(task_of(name="glue/stsb"), "glue", "test.tsv", rows, records)
    assert (file, lines[1:]) == ("STS-B.tsv", ["0\t0.000", "1\t3.142", "2\t5.000"])


@pytest.mark.parametrize(
    ("name", "source", "record", "file", "label"),
    [
        ("superglue/boolq", "test.jsonl", {"label": "true"}, "BoolQ.jsonl", "true"),
        ("superglue/cb", "test.jsonl", {"label": "neutral"}, "CB.jsonl", "neutral"),
        ("superglue/rte", "test.jsonl", {"label": "entailment"}, "RTE.jsonl", "entailment"),
        ("superglue/rte", "AX-b.jsonl", {"label": "entailment"}, "AX-b.jsonl", "entailment"),
        ("superglue/rte", "AX-g.jsonl", {"label": "entailment"}, "AX-g.jsonl", "entailment"),
        ("superglue/wic", "test.jsonl", {"label": "false"}, "WiC.jsonl", "false"),
        ("superglue/wsc", "test.jsonl", {"label": "true"}, "WSC.jsonl", "True"),
        ("superglue/copa", "test.jsonl", {"choice": 1, "text": "x"}, "COPA.jsonl", 1),
    ],
)
def test_superglue(
    task_of: TaskOf, written: Written, name: str, source: str, record: Any, file: str, label: object
) -> None:
    found, (line,) = written(task_of(name=name), "superglue", source, [{"idx": 8}], [record])
    assert (found, json.loads(line)) == (file, {"idx": 8, "label": label})


def test_multirc_is_nested(task_of: TaskOf, written: Written) -> None:
    questions = [
        {"idx": 30, "question": "q", "answers": [{"idx": 7, "text": "a"}, {"idx": 8, "text": "b"}]},
        {"idx": 31, "question": "q", "answers": [{"idx": 9, "text": "c"}]},
    ]
    row = {"idx": 4, "passage": {"text": "x", "questions": questions}}
    record = {"questions": [{"choices": [1]}, {"choices": []}]}
    file, (line,) = written(
        task_of(name="superglue/multirc"), "superglue", "test.jsonl", [row], [record]
    )
    assert file == "MultiRC.jsonl"
    assert line == (
        '{"idx": 4, "passage": {"questions": ['
        '{"idx": 30, "answers": [{"idx": 7, "label": 0}, {"idx": 8, "label": 1}]}, '
        '{"idx": 31, "answers": [{"idx": 9, "label": 0}]}]}}'
    )


def test_record_has_a_line_for_each_query(task_of: TaskOf, written: Written) -> None:
    passage = {"text": "Rome and the U.S.", "entities": [{"start": 0, "end": 3}]}
    queries = [{"idx": number, "query": "in @placeholder"} for number in (12, 13)]
    row = {"idx": 4, "passage": passage, "qas": queries}
    record = {"questions": [{"choice": 0, "text": "Rome"}, {"choice": 2, "text": "the U.S."}]}
    file, lines = written(
        task_of(name="superglue/record"), "superglue", "test.jsonl", [row], [record]
    )
    assert file == "ReCoRD.jsonl"
    assert lines == ['{"idx": 12, "label": "Rome"}', '{"idx": 13, "label": "the U.S."}']


def test_every_benchmark_of_a_leaderboard_has_its_file() -> None:
    files = {one.name: set(one.submits.values()) for one in BENCHMARKS.values()}
    names = set[str]().union(*(files[name] for name in files if name.startswith("superglue/")))
    assert names == {
        f"{name}.jsonl"
        for name in (
            "AX-b",
            "AX-g",
            "BoolQ",
            "CB",
            "COPA",
            "MultiRC",
            "ReCoRD",
            "RTE",
            "WiC",
            "WSC",
        )
    }
    names = set[str]().union(*(files[name] for name in files if name.startswith("glue/")))
    assert names == {
        f"{name}.tsv"
        for name in (
            *("AX", "CoLA", "MNLI-m", "MNLI-mm", "MRPC", "QNLI"),
            *("QQP", "RTE", "SST-2", "STS-B", "WNLI"),
        )
    }


@pytest.mark.parametrize(
    ("keys", "board", "reported"),
    [
        ({"name": "glue/cola"}, "superglue", "--format superglue: writes what SuperGLUE's"),
        ({"name": "superglue/copa"}, "glue", "the export's task is superglue/copa; allowed: glue/"),
        ({"name": "demo", "labels": ["a", "b"]}, "glue", "the export's task is demo"),
        (
            {"name": "choice", "path": ".", "candidates": ["c"], "answer": "a"},
            "superglue",
            "the export's task is choice",
        ),
        ({"name": "regression", "path": ".", "text": "t", "label": "l"}, "glue", "is regression"),
    ],
)
def test_a_task_of_no_leaderboard(
    task_of: TaskOf, keys: dict[str, Any], board: Leaderboard, reported: str
) -> None:
    with pytest.raises(UserError) as error:
        task_of(**keys).submission(board, Path("test.tsv"))
    assert reported in str(error.value)


def test_rows_without_their_number(task_of: TaskOf, tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text('{"premise": "w1", "hypothesis": "w2"}\n')
    for name in ("superglue/cb", "superglue/copa"):
        with pytest.raises(UserError, match=r"test.jsonl:1: no column 'idx'"):
            task_of(name=name).submission("superglue", tmp_path / "test.jsonl")


def test_rows_without_their_text(task_of: TaskOf, tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text('{"premise": "w1", "idx": 0}\n')
    with pytest.raises(UserError, match=r"test.jsonl:1: no column 'hypothesis'"):
        task_of(name="superglue/cb").submission("superglue", tmp_path / "test.jsonl")
