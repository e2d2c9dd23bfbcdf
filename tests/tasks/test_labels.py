"""Which values are classes, in which order, and what is said of those that were found."""

from __future__ import annotations

import datetime
import decimal
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pyarrow
import pyarrow.parquet
import pytest
from sklearn.metrics import f1_score

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Task
from ptv2_scale.tasks.labels import LabelReader, in_order, label_counts

TaskOf = Callable[..., Task]


def of(task_of: TaskOf, path: Path, **keys: Any) -> Any:
    """The task of one's own file, whose columns are text and label."""
    own = {"name": "classification", "text": "text", "label": "label", "validation": path.name}
    return task_of(**{**own, "path": str(path.parent), "train": path.name, **keys})


def jsonl(folder: Path, labels: list[Any]) -> Path:
    path = folder / "own.jsonl"
    path.write_text("".join(json.dumps({"text": "w1", "label": one}) + "\n" for one in labels))
    return path


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (1, "1"),
        (1.0, "1"),
        ("1.0", "1"),
        ("1.", "1"),
        (" 1", "1"),
        (-1.0, "-1"),
        ("-0.0", "0"),
        (decimal.Decimal("2.00"), "2"),
        ("007", "007"),  # a code, not the number 7
        ("n ", "n"),
        ("\tyes\n", "yes"),
        (True, "true"),
        ("True", "True"),
        ("not entailment", "not entailment"),
        (None, None),
        (math.nan, None),
        (decimal.Decimal("NaN"), None),
        ("", None),
        ("  ", None),
        ("nan", None),
        ("NA", None),
        ("NULL", None),
        (10**400, str(10**400)),
    ],
)
def test_a_value_is_one_class_however_it_is_written(value: object, label: str | None) -> None:
    assert LabelReader().read({"label": value}, 1) == label


@pytest.mark.parametrize(
    ("value", "reported"),
    [
        ([1, 0], r"found \[1, 0\] \(list\), which is no label"),
        ({"a": 1}, r"found \{'a': 1\} \(dict\)"),
        (math.inf, r"found inf \(float\)"),
        (b"yes", r"found b'yes' \(bytes\)"),
        (datetime.date(2020, 1, 2), r"found .* \(date\), which is no label"),
        (0.37, "found 0.37, which looks like a score"),
        ("0.37", "found 0.37, which looks like a score"),
        (1e-9, "found 1e-09, which looks like a score"),
    ],
)
def test_what_is_no_label(value: object, reported: str) -> None:
    with pytest.raises(UserError, match=f"row 4, column 'label': {reported}"):
        LabelReader().read({"label": value}, 4)


def test_labels_of_the_recipe_are_classes_whatever_they_look_like(
    task_of: TaskOf, tmp_path: Path
) -> None:
    path = jsonl(tmp_path, ["none", "0.5", 0.5, " none", "against"])
    task = of(task_of, path, labels=["against", "none", "0.5"])
    counts = dict(zip(task.labels, [1, 2, 2], strict=True))
    assert task.describe_rows(task.rows("train"))[0].endswith(
        ": " + ", ".join(f"{label} {count}" for label, count in counts.items())
    )


@pytest.mark.parametrize("missing", [None, math.nan, "", " ", "NaN", "null", "None", "N/A"])
def test_a_missing_label_is_refused_with_its_line_or_skipped(
    task_of: TaskOf, tmp_path: Path, missing: object, caplog: pytest.LogCaptureFixture
) -> None:
    path = jsonl(tmp_path, [0, 1, missing, 1])
    task = of(task_of, path)
    assert task.labels == ("0", "1")
    with pytest.raises(UserError, match=r"own\.jsonl:3: no label in the column 'label'.*skip"):
        task.rows("train")
    skipping = of(task_of, path, unlabelled="skip")
    assert [row["label"] for row in skipping.rows("validation")] == [0, 1, 1]
    assert "1 of 4 rows have no label and are left out" in caplog.text


def test_files_that_pandas_wrote_from_one_table_have_the_same_classes(
    task_of: TaskOf, tmp_path: Path
) -> None:
    """A column of whole numbers with a gap becomes floats: 0.0 and 1.0 in the file."""
    table = pandas.DataFrame({"text": ["w1"] * 4, "label": [0, 1, 1, 0]})
    table.to_csv(tmp_path / "whole.csv", index=False)
    table["label"] = table["label"].astype(float)
    table.loc[4] = ["w2", math.nan]
    table.to_csv(tmp_path / "floats.csv", index=False)
    table.to_json(tmp_path / "floats.jsonl", orient="records", lines=True)
    table.to_parquet(tmp_path / "floats.parquet")
    assert (tmp_path / "floats.csv").read_text().count(".0") == 4
    for name in ("floats.csv", "floats.jsonl", "floats.parquet"):
        task = of(task_of, tmp_path / "whole.csv", validation=name, unlabelled="skip")
        rows = task.rows("validation")
        assert task.labels == ("0", "1")
        assert [task.classes.reader.read(row, 1) for row in rows] == ["0", "1", "1", "0"]


def test_a_list_in_parquet_is_named_by_its_row(task_of: TaskOf, tmp_path: Path) -> None:
    path = tmp_path / "own.parquet"
    rows = pyarrow.table({"text": ["w1", "w2"], "label": pyarrow.array([[1], [0, 1]])})
    pyarrow.parquet.write_table(rows, path)
    with pytest.raises(UserError, match=r"own\.parquet:row 1, column 'label': found \[1\]"):
        of(task_of, path)


@pytest.mark.parametrize(
    ("found", "ordered"),
    [
        ([str(n) for n in range(12)], [str(n) for n in range(12)]),
        (["10", "-1", "9", "0"], ["-1", "0", "9", "10"]),
        (["b", "10", "a", "2"], ["2", "10", "a", "b"]),
        (["yes", "no"], ["no", "yes"]),
    ],
)
def test_numbers_are_in_the_order_of_numbers(found: list[str], ordered: list[str]) -> None:
    assert list(in_order(reversed(found))) == ordered


def test_twelve_whole_numbers_are_their_own_class_numbers(
    task_of: TaskOf, tmp_path: Path, words: Any
) -> None:
    values = [n % 12 for n in range(36)]
    task = of(task_of, jsonl(tmp_path, values))
    examples = task.encode(task.rows("train"), words, "pair", 8)
    assert [example.target for example in examples] == values


def test_classes_are_told_with_their_counts(task_of: TaskOf, tmp_path: Path) -> None:
    task = of(task_of, jsonl(tmp_path, ["no"] * 4 + ["yes"] * 3))
    assert task.describe_rows(task.rows("train")) == ["7 rows of 2 classes: no 4, yes 3"]


@pytest.mark.parametrize(
    ("counts", "warned"),
    [
        ({str(n): 1 for n in range(60)}, ["60 classes in 60 rows are many", "few rows or none of"]),
        ({"no": 500, "yes": 480, "yess": 2}, ["few rows or none of: yess."]),
        ({"no": 5, "yes": 5, "maybe": 0}, ["few rows or none of: maybe."]),
        ({"n": 9, "N": 9, "y": 9}, ["'n' and 'N' differ in case, spaces or form alone"]),
        ({"not entailed": 9, "not_entailed": 9}, ["'not entailed' and 'not_entailed' differ"]),
        ({"1": 9, "01": 9}, ["'1' and '01' differ"]),
        ({"stra\u00dfe": 9, "STRASSE": 9}, ["differ"]),
        ({"-1": 9, "+1": 9}, []),
        ({"C": 9, "C++": 9, "C#": 9}, []),
        ({str(n): 100 for n in range(150)}, []),
    ],
)
def test_what_looks_wrong_is_warned_of(counts: dict[str, int], warned: list[str]) -> None:
    _, *warnings = label_counts(counts, list(counts))
    assert len(warnings) == len(warned)
    for line, part in zip(warnings, warned, strict=True):
        assert line.startswith("warning: ")
        assert part in line
        assert "task.label" in line


def test_a_long_list_of_classes_is_cut() -> None:
    first, *_ = label_counts({}, [f"c{n}" for n in range(70)])
    assert first.endswith("and 50 more")


TRUTH = ["spam", "ham", "ham", "spam", "ham", "ham", "ham"]
ANSWERS = ["spam", "spam", "ham", "ham", "ham", "ham", "spam"]


@pytest.mark.parametrize("positive", [None, "ham", "spam"])
def test_the_class_of_f1_is_a_key(task_of: TaskOf, tmp_path: Path, positive: str | None) -> None:
    task = of(task_of, jsonl(tmp_path, TRUTH), metric="f1", positive=positive)
    records = [{"label": label} for label in ANSWERS]
    expected = f1_score(TRUTH, ANSWERS, pos_label=positive or "spam")
    rows = task.rows("train")
    assert task.score(records, rows) == {"f1": pytest.approx(expected)}
    named = "as given" if positive else "the second; see task.positive"
    assert f"f1 is that of the class '{positive or 'spam'}' ({named})" in task.describe()
    assert task.resolved().positive == (positive or "spam")
    always = f1_score(TRUTH, ["ham"] * 7, pos_label=positive or "spam")
    assert task.trivial(rows).value == pytest.approx(always)


def test_the_class_of_f1_may_be_written_as_another_number(task_of: TaskOf, tmp_path: Path) -> None:
    task = of(task_of, jsonl(tmp_path, [0, 1, 1]), metric="f1", positive="0.0")
    assert task.positive == 0


@pytest.mark.parametrize(
    ("keys", "reported"),
    [
        (
            {"metric": "f1", "positive": "spm"},
            "task.positive: found 'spm', allowed: ham, spam.",
        ),
        ({"positive": "spam"}, "task.positive: is for task.metric: f1 alone"),
        ({"metric": "accuracy", "positive": "spam"}, "task.positive: is for task.metric: f1 alone"),
        ({"labels": ["1", "1.0"]}, "two or more different labels"),
        ({"labels": ["a", " "]}, "two or more different labels"),
    ],
)
def test_contradicting_keys(
    task_of: TaskOf, tmp_path: Path, keys: dict[str, Any], reported: str
) -> None:
    with pytest.raises(UserError) as error:
        of(task_of, jsonl(tmp_path, TRUTH), **keys)
    assert reported in str(error.value)


def test_published_tasks_say_of_which_class_f1_is(task_of: TaskOf) -> None:
    assert (
        "f1 is that of the class '1' (the second; see task.positive)"
        in task_of(name="glue/mrpc").describe()
    )
    assert task_of(name="glue/mrpc", positive="0").positive == 0
    assert not any("f1" in line for line in task_of(name="superglue/rte").describe())
