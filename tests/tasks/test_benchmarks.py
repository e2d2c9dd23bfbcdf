"""Published files, read as published: sizes, labels and texts as their sources count them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from ptv2_scale.config import TASKS
from ptv2_scale.data.formats import Row
from ptv2_scale.data.splits import Split
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Style, Task
from ptv2_scale.tasks.benchmarks.spec import ClassificationSpec
from ptv2_scale.tasks.catalogue import BENCHMARKS

TaskOf = Callable[..., Task]

# name, folder, rows and labels of train, rows of validation: from SOURCE.md beside the files
SIZES: list[tuple[str, str, dict[str, int], int]] = [
    ("superglue/rte", "superglue/RTE", {"entailment": 1249, "not_entailment": 1241}, 277),
    ("superglue/wsc", "superglue/WSC", {"false": 295, "true": 259}, 104),
    ("glue/cola", "glue/CoLA", {"1": 6023, "0": 2528}, 1043),
    ("glue/sst2", "glue/SST-2", {"1": 37569, "0": 29780}, 872),
]
FEW: list[tuple[str, str, dict[str, int]]] = [
    ("superglue/boolq", "BoolQ", {"true": 18, "false": 14}),
    ("superglue/cb", "CB", {"entailment": 19, "contradiction": 10, "neutral": 3}),
    ("superglue/wic", "WiC", {"true": 17, "false": 15}),
]


def counted(task: Task, rows: list[Row], words: Any) -> dict[str, int]:
    examples = task.encode(rows, words, "pair", 16)
    return Counter(
        task.labels[example.target] for example in examples if example.target is not None
    )


@pytest.mark.parametrize(("name", "folder", "labels", "validation"), SIZES)
def test_official_splits(
    task_of: TaskOf, material: Path, words: Any, name: str, folder: str, labels: dict[str, int],
    validation: int,
) -> None:  # fmt: skip
    task = task_of(name=name, path=str(material / "data" / folder))
    assert counted(task, task.rows("train"), words) == labels
    assert len(task.rows("validation")) == validation


@pytest.mark.parametrize(("name", "folder", "labels"), FEW)
def test_few_shot_files(
    task_of: TaskOf, material: Path, words: Any, name: str, folder: str, labels: dict[str, int]
) -> None:
    path = str(material / "data/superglue_32shot" / folder)
    task = task_of(name=name, path=path, validation="dev32.jsonl")
    assert counted(task, task.rows("train"), words) == labels
    assert len(task.rows("validation")) == 32


def test_file_names_can_be_overridden(task_of: TaskOf, material: Path) -> None:
    task = task_of(
        name="superglue/boolq",
        path=str(material / "data/superglue/BoolQ"),
        train="val_part80.jsonl",
        validation="val_part20.jsonl",
    )
    assert (len(task.rows("train")), len(task.rows("validation"))) == (2635, 635)


def test_a_missing_published_file(task_of: TaskOf, material: Path) -> None:
    task = task_of(name="superglue/boolq", path=str(material / "data/superglue/BoolQ"))
    with pytest.raises(UserError, match=r"train.jsonl: there is no such file"):
        task.rows("train")


def test_texts(task_of: TaskOf, material: Path, t5_tokenizer: Any, bert_tokenizer: Any) -> None:
    path = material / "data/superglue_32shot"
    row = json.loads((path / "WiC/train.jsonl").read_text().splitlines()[0])
    styles: tuple[tuple[Style, Any], ...] = (("pair", bert_tokenizer), ("named", t5_tokenizer))
    for style, tokenizer in styles:
        wic = task_of(name="superglue/wic", path=str(path / "WiC")).encode(
            [row], tokenizer, style, 128
        )
        assert "token_type_ids" not in wic[0].inputs or set(wic[0].inputs["token_type_ids"]) == {0}
        text = tokenizer.decode(wic[0].inputs["input_ids"], skip_special_tokens=True)
        assert text.lower() == (
            "you make me feel naked. she felt small and insignificant. "
            "does feel have the same meaning in both sentences?"
        )
    row = {"premise": "It rains.", "hypothesis": "It is wet.", "label": "entailment", "idx": 3}
    cb = task_of(name="superglue/cb")
    named = cb.encode([row], t5_tokenizer, "named", 128)[0]
    expected = t5_tokenizer("premise: It rains. hypothesis: It is wet.")["input_ids"]
    assert named.inputs["input_ids"] == expected
    pair = cb.encode([row], bert_tokenizer, "pair", 128)[0]
    expected = bert_tokenizer("It rains.", "It is wet.")
    assert pair.inputs == {key: expected[key] for key in ("input_ids", "token_type_ids")}


def test_mrpc_as_published(task_of: TaskOf, tmp_path: Path) -> None:
    header = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    (tmp_path / "train.tsv").write_text(header + '1\t10\t20\tHe said "yes .\tYes , he said .\n')
    (tmp_path / "test.tsv").write_text(
        "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t1\t2\tOne .\tTwo .\n"
    )
    task = task_of(name="glue/mrpc", path=str(tmp_path))
    (row,) = task.rows("train")
    assert (row["sentence1"], row["sentence2"]) == ('He said "yes .', "Yes , he said .")
    assert row["label"] == "1"
    assert [row["sentence2"] for row in task.rows("test")] == ["Two ."]


def test_cola_test_has_a_header_and_train_none(task_of: TaskOf, tmp_path: Path, words: Any) -> None:
    (tmp_path / "train.tsv").write_text("gj04\t0\t*\tw1 w2\n")
    (tmp_path / "test.tsv").write_text("index\tsentence\n0\tw3\n")
    (tmp_path / "own.tsv").write_text("sentence\tlabel\nw4\t1\n")
    task = task_of(name="glue/cola", path=str(tmp_path), validation="own.tsv")
    expected: dict[Split, tuple[list[int], int | None]] = {
        "train": ([101, 102], 0),
        "test": ([103], None),
        "validation": ([104], 1),
    }
    for split, (ids, label) in expected.items():
        (example,) = task.encode(task.rows(split), words, "pair", 16)
        assert (example.inputs["input_ids"][1:-1], example.target) == (ids, label)


MNLI = "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t"
MNLI += "sentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label\n"
# The header and a row of the training file, as published; the texts, and the label.
PAIRS = {
    "glue/mnli": (
        MNLI + "0\t3\t3n\tfiction\t( a )\t( b )\t(R)\t(R)\tw1 w2\tw3\tneutral\tneutral\n",
        [101, 102], [103], "neutral",
    ),
    "glue/qnli": ("index\tquestion\tsentence\tlabel\n0\tw1\tw2\tentailment\n", [101], [102],
                  "entailment"),
    "glue/rte": ("index\tsentence1\tsentence2\tlabel\n0\tw1\tw2\tnot_entailment\n", [101], [102],
                 "not_entailment"),
    "glue/wnli": ("index\tsentence1\tsentence2\tlabel\n0\tw1\tw2\t1\n", [101], [102], "1"),
    "glue/qqp": ("id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t1\t2\tw1\tw2\t0\n"
                 "1\t3\t4\tw5\n", [101], [102], "0"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_pairs_of_glue_as_published(
    task_of: TaskOf, tmp_path: Path, words: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    content, first, second, label = PAIRS[name]
    (tmp_path / "train.tsv").write_text(content)
    task = task_of(name=name, path=str(tmp_path))
    (example,) = task.encode(task.rows("train"), words, "pair", 16)
    assert example.inputs["input_ids"] == [2, *first, 3, *second, 3]
    assert task.labels[example.target] == label
    assert ("1 rows have too few fields and are left out" in caplog.text) == (name == "glue/qqp")


def test_mnli_has_two_validation_files(task_of: TaskOf) -> None:
    places = {
        name: task_of(name=name, path="d").place("validation")
        for name in ("glue/mnli", "glue/mnli_mismatched")
    }
    assert places == {
        "glue/mnli": "d/dev_matched.tsv", "glue/mnli_mismatched": "d/dev_mismatched.tsv",
    }  # fmt: skip


def test_wsc_as_published_and_as_the_hub_has_it(
    task_of: TaskOf, tmp_path: Path, words: Any
) -> None:
    spans = {"span2_index": 2, "span1_index": 0, "span1_text": "w1", "span2_text": "w3"}
    official = {"text": "w1 w2 w3", "target": spans, "idx": 0, "label": True}
    flat = {"text": "w1 w2 w3", **spans, "idx": 0, "label": "True"}
    (tmp_path / "train.jsonl").write_text(json.dumps(official) + "\n")
    task = task_of(name="superglue/wsc", path=str(tmp_path))
    for rows in (task.rows("train"), [flat]):
        (example,) = task.encode(rows, words, "pair", 32)
        assert example.inputs["input_ids"] == [2, 1, 101, 102, 103, 3, 101, 3]  # w3: is unknown
        assert example.target == 1
    with pytest.raises(UserError, match="row 1: no column 'span1_text'"):
        task.encode([{"text": "w1", "target": {}}], words, "pair", 32)


def test_diagnostics_are_read_as_rte(task_of: TaskOf, tmp_path: Path) -> None:
    row = {"sentence1": "w1", "sentence2": "w2", "idx": 0, "logic": "Negation"}
    (tmp_path / "AX-b.jsonl").write_text(json.dumps(row) + "\n")
    task = task_of(name="superglue/rte")
    (found,) = task.submission("superglue", tmp_path / "AX-b.jsonl").rows
    assert (found["premise"], found["hypothesis"]) == ("w1", "w2")


# Each class number of the hub's data sets, as the published files write it.
HUB_LABELS = {
    "superglue/boolq": {"False": "false", "True": "true"},
    "superglue/cb": {name: name for name in ("entailment", "contradiction", "neutral")},
    "superglue/rte": {name: name for name in ("entailment", "not_entailment")},
    "superglue/wic": {"False": "false", "True": "true"},
    "superglue/wsc": {"False": "false", "True": "true"},
    "glue/cola": {"unacceptable": "0", "acceptable": "1"},
    "glue/sst2": {"negative": "0", "positive": "1"},
    "glue/mrpc": {"not_equivalent": "0", "equivalent": "1"},
    "glue/qqp": {"not_duplicate": "0", "duplicate": "1"},
    "glue/mnli": {name: name for name in ("entailment", "neutral", "contradiction")},
    "glue/mnli_mismatched": {name: name for name in ("entailment", "neutral", "contradiction")},
    "glue/qnli": {name: name for name in ("entailment", "not_entailment")},
    "glue/rte": {name: name for name in ("entailment", "not_entailment")},
    "glue/wnli": {"not_entailment": "0", "entailment": "1"},
}


CLASSIFIED = sorted(n for n, one in BENCHMARKS.items() if isinstance(one, ClassificationSpec))


@pytest.mark.parametrize("name", CLASSIFIED)
def test_hub_class_numbers_become_published_labels(
    task_of: TaskOf, monkeypatch: pytest.MonkeyPatch, words: Any, name: str
) -> None:
    published = BENCHMARKS[name]
    names = list(HUB_LABELS[name])
    size = len(names)
    columns = {column: ["w1"] * (size + 1) for column in published.columns}
    features = {column: datasets.Value("string") for column in published.columns}
    found = datasets.Dataset.from_dict(
        {**columns, "label": [*range(size), -1]},
        features=datasets.Features({**features, "label": datasets.ClassLabel(names=names)}),
    )
    asked: list[Any] = []

    def load(*names: str, split: str) -> Any:
        asked.append((*names, split))
        return found

    monkeypatch.setattr(datasets, "load_dataset", load)
    task = task_of(name=name)
    examples = task.encode(task.rows("test"), words, "pair", 32)
    found_labels = [
        task.labels[label] for example in examples if (label := example.target) is not None
    ]
    assert found_labels == list(HUB_LABELS[name].values())
    assert examples[-1].target is None
    split = published.hub_splits.get("test", "test")
    assert asked == [(published.dataset, published.subset, split)]
    with pytest.raises(UserError, match=f"train, row {size + 1}: no label"):
        task.rows("train")


def test_each_benchmark_is_a_name_of_one_kind() -> None:
    names = Counter(name for model in TASKS.models() for name in model.NAMES)
    assert set(names.values()) == {1}
    assert set(BENCHMARKS) <= set(names)
