"""Tagging: targets, windows, answers, scores, and what is refused in rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from ptv2_scale.config import Tagging
from ptv2_scale.data.collate import IGNORED, Padding
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.kinds.tagging import TaggingTask, build

LABELS = ["O", "B-PER", "I-PER"]
ROW = {"tokens": ["Ekeus", "met", "naïvely", "Ekeus"], "tags": ["B-PER", "O", "O", "B-PER"]}


def task_of(**keys: Any) -> TaggingTask:
    return build(Tagging(**{"name": "tagging", "path": "/", "labels": LABELS, **keys}))


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_first_sub_word_has_the_tag_as_word_ids_say(bert_tokenizer: Any) -> None:
    task = task_of()
    (example,) = task.encode([ROW], bert_tokenizer, "pair", 64)
    encoded = bert_tokenizer(ROW["tokens"], is_split_into_words=True)
    assert example.inputs["input_ids"] == encoded["input_ids"]
    expected, before = [], None
    for word in encoded.word_ids():
        first = word is not None and word != before
        expected.append(LABELS.index(ROW["tags"][word]) if first else IGNORED)
        before = word
    assert task.targets([example])["labels"].tolist() == [expected]
    assert task.loss_count([example]) == 4


def test_the_last_sub_word_where_a_key_says_so(bert_tokenizer: Any) -> None:
    (example,) = task_of(subword="last").encode([ROW], bert_tokenizer, "pair", 64)
    words = bert_tokenizer(ROW["tokens"], is_split_into_words=True).word_ids()
    last = [max(place for place, word in enumerate(words) if word == n) for n in range(4)]
    assert list(example.source) == last


def test_the_predicate_is_a_second_text(bert_tokenizer: Any, t5_tokenizer: Any) -> None:
    """As P-Tuning v2's code has it for BERT: the words, [SEP], the predicate, [SEP]."""
    row = {**ROW, "index": 2}
    task = task_of(predicate="index")
    assert task.columns == ("tokens", "index")
    (example,) = task.encode([row], bert_tokenizer, "pair", 64)
    split = [*ROW["tokens"], "[SEP]", "naïvely"]
    official = bert_tokenizer(split, is_split_into_words=True)["input_ids"]
    assert example.inputs["input_ids"] == official
    (named,) = task.encode([row], t5_tokenizer, "named", 64)
    text = "predicate: naïvely sentence: Ekeus met naïvely Ekeus"
    assert named.inputs["input_ids"] == t5_tokenizer(text)["input_ids"]
    at = [named.inputs["input_ids"][place] for place in named.source]
    first = [t5_tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ROW["tokens"]]
    assert at == first


def test_windows_tag_every_word_once(words: Any, caplog: pytest.LogCaptureFixture) -> None:
    task = task_of(overlap=4)
    numbers = list(range(23))
    row = {"tokens": [f"w{n}" for n in numbers], "tags": [LABELS[n % 3] for n in numbers]}
    examples = task.encode([ROW, row], words, "pair", 10)
    assert [example.row for example in examples] == [0, *[1] * (len(examples) - 1)]
    assert len(examples) > 3
    assert max(example.length for example in examples) == 10
    assert "1 sentences are longer than 10 tokens and were read in windows" in caplog.text
    own = examples[1:]
    read = [one.inputs["input_ids"][place] - 100 for one in own for place in one.source]
    assert read == numbers
    assert [tag for one in own for tag in one.target] == [n % 3 for n in numbers]
    assert task.loss_count(examples) == 4 + 23
    # The outputs say the id of each token, which names the word's tag.
    batch = task.collate(own, Padding(0))
    outputs = functional.one_hot((batch.inputs["input_ids"] - 100) % 3, 3).float()
    assert task.combine(task.decode(outputs, own)) == {"tags": row["tags"]}


def test_the_loss_is_summed_over_words(bert_tokenizer: Any) -> None:
    task = task_of()
    longer = {"tokens": ["a"] * 9, "tags": ["I-PER"] * 9}
    examples = task.encode([ROW, longer], bert_tokenizer, "pair", 64)
    batch = task.collate(examples, Padding(0))
    logits = torch.randn(2, batch.inputs["input_ids"].shape[1], 3)
    expected = sum(
        -float(logits[row, place].log_softmax(0)[tag])
        for row, one in enumerate(examples)
        for place, tag in zip(one.source, one.target, strict=True)
    )
    assert float(task.loss_sum(logits, batch.targets)) == pytest.approx(expected, rel=1e-5)


def test_answers_are_not_needed_to_predict(bert_tokenizer: Any) -> None:
    task = task_of()
    rows = [{"tokens": ROW["tokens"]}, {**ROW, "tags": ["unheard of"]}]
    first, second = task.encode(rows, bert_tokenizer, "pair", 64, with_targets=False)
    assert first.target is None
    assert first.inputs == second.inputs
    outputs = torch.zeros(2, first.length, 3)
    outputs[..., 2] = 1
    assert task.decode(outputs, [first, second])[0] == {"tags": ["I-PER"] * 4}


def test_scores_and_what_learning_nothing_scores() -> None:
    task = task_of()
    rows = [ROW, {"tokens": ["a", "b"], "tags": ["O", "O"]}]
    records = [{"tags": ["B-PER", "O", "O", "O"]}, {"tags": ["O", "O"]}]
    found = task.score(records, rows)
    assert list(found) == ["f1", "accuracy", "precision", "recall"]
    assert found == pytest.approx({"f1": 2 / 3, "accuracy": 5 / 6, "precision": 1, "recall": 0.5})
    assert list(task_of(metric="accuracy").score(records, rows))[0] == "accuracy"
    assert (task.trivial(rows).value, task.trivial(rows).answer) == (0.0, "the tag O on every word")
    assert task_of(metric="accuracy").trivial(rows).value == pytest.approx(4 / 6)
    with pytest.raises(UserError, match="these rows have no tags"):
        task.trivial([{"tokens": ["a"]}])
    assert task.describe_rows(rows)[1] == "2 entities: PER 2"


def test_tags_that_mark_no_entities_are_scored_by_accuracy() -> None:
    keys: dict[str, Any] = {"labels": ["NN", "VB"]}
    with pytest.raises(UserError, match=r"f1 counts entities.*found 'NN'. Set task.metric: acc"):
        task_of(**keys)
    task = task_of(**keys, metric="accuracy")
    rows = [{"tokens": ["a", "b"], "tags": ["NN", "VB"]}]
    assert task.score([{"tags": ["NN", "NN"]}], rows) == {"accuracy": 0.5}


def test_tags_are_found_in_training_and_stored(tmp_path: Path) -> None:
    write(tmp_path, "train.jsonl", [ROW, {"tokens": ["x"], "tags": ["I-PER"]}])
    keys = {"name": "tagging", "path": str(tmp_path), "train": "train.jsonl"}
    task = build(Tagging(**keys))
    assert task.labels == ("O", "B-PER", "I-PER")
    assert task.resolved() == Tagging(**keys, labels=LABELS, metric="f1")
    assert build(task.resolved()) == build(Tagging(**keys, labels=LABELS, metric="f1"))


def test_a_tag_that_training_lacks(
    tmp_path: Path, bert_tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [ROW, {"tokens": ["a", "b"], "tags": ["O", "B-LCO"]}]
    for name in ("train", "dev", "test"):
        write(tmp_path, f"{name}.jsonl", rows)
    task = task_of(path=str(tmp_path), train="train.jsonl", validation="dev.jsonl")
    with pytest.raises(UserError, match="train.jsonl:2, word 2: found the tag 'B-LCO', allowed"):
        task.rows("train")
    assert task.rows("validation") == rows
    assert "tags that training does not have: B-LCO" in caplog.text
    assert "dev.jsonl:2, word 2" in caplog.text
    examples = task.encode(rows, bert_tokenizer, "pair", 64)
    assert examples[1].target == [0, IGNORED]
    assert task.loss_count(examples) == 5
    assert task.score([{"tags": ROW["tags"]}, {"tags": ["O", "B-PER"]}], rows)["recall"] == 2 / 3


@pytest.mark.parametrize(
    ("row", "reported"),
    [
        ({"tokens": []}, "row 1: a sentence without words"),
        ({"tokens": "a text"}, "column 'tokens': found 'a text', expected a list of words"),
        ({"tokens": ["a", 3]}, "expected a list of words"),
        ({"words": ["a"]}, "row 1: no column 'tokens'; found: words"),
        ({"tokens": ["a", "b"], "tags": ["O"]}, "row 1: found 2 words and 1 tags"),
        ({"tokens": ["a"], "tags": "O"}, "column 'tags': found 'O', expected a list of tags"),
        ({"tokens": ["a"], "tags": [None]}, "row 1, word 1: found None, which is no tag"),
        ({"tokens": ["a"], "tags": [7]}, "row 1, word 1: found 7, which is no tag"),
    ],
)
def test_mistakes_in_rows(row: dict[str, Any], reported: str, bert_tokenizer: Any) -> None:
    with pytest.raises(UserError, match=reported):
        task_of().encode([row], bert_tokenizer, "pair", 64)
    if "tags" not in row:
        with pytest.raises(UserError, match=reported):
            task_of().check_row(row, 1)


@pytest.mark.parametrize("index", [4, -1, "x", None, True])
def test_a_predicate_is_one_of_the_words(index: object, bert_tokenizer: Any) -> None:
    task = task_of(predicate="index")
    with pytest.raises(UserError, match="expected the number of one of the 4 words"):
        task.check_row({**ROW, "index": index}, 1)


def test_numbers_are_tags_where_their_names_are_given(tmp_path: Path) -> None:
    row = {"tokens": ["a", "b"], "tags": [1, 2]}
    assert task_of().score([{"tags": ["B-PER", "I-PER"]}], [row])["f1"] == 1.0
    write(tmp_path, "train.jsonl", [row])
    with pytest.raises(UserError, match=r"train.jsonl:1, word 1: the tag is the number 1. Name"):
        build(Tagging(name="tagging", path=str(tmp_path), train="train.jsonl"))


def test_no_room_for_a_word(words: Any) -> None:
    with pytest.raises(UserError, match=r"task.max_length: 2 leaves no room for a word"):
        task_of(overlap=0).encode([ROW], words, "pair", 2)
    with pytest.raises(UserError, match="task.overlap: found 128, which leaves windows"):
        task_of(overlap=128)


def test_a_word_longer_than_a_window_is_cut(
    bert_tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    row = {"tokens": ["a", "Ekeus" * 9, "b"], "tags": ["O"] * 3}
    examples = task_of(overlap=0).encode([row], bert_tokenizer, "pair", 8)
    assert [len(one.source) for one in examples] == [1, 1, 1]
    assert max(one.length for one in examples) == 8
    assert "1 words are longer than a window of 8 tokens and were cut" in caplog.text


def test_benchmarks(material: Path, tmp_path: Path) -> None:
    task = build(Tagging(name="ner/wnut17", path=str(material / "data/wnut17")))
    said = task.describe_rows(task.rows("train"))
    assert said[0].startswith("3394 sentences of 62730 words")
    assert said[1].startswith("1975 entities: person 660")
    assert task.describe_rows(task.rows("validation"))[1].startswith("836 entities")
    assert task.describe_rows(task.rows("test"))[1].startswith("1079 entities")
    with pytest.raises(UserError, match=r"srl/conll2005 is not on the hub .*conll05.test.wsj.txt"):
        build(Tagging(name="srl/conll2005"))
    (tmp_path / "conll05.train.txt").write_text("1 I go ||| B-A0 B-V\n")
    (tmp_path / "brown.txt").write_text("0 Go ! ||| B-V O\n")
    roles = build(Tagging(name="srl/conll2005", path=str(tmp_path), test="brown.txt"))
    assert roles.labels == ("B-A0", "B-V")
    assert roles.rows("test") == [{"index": 0, "tokens": ["Go", "!"], "tags": ["B-V", "O"]}]


@pytest.mark.parametrize("missing", ["nan", "NULL", "n/a"])
def test_what_programs_write_for_a_missing_tag_is_none(missing: str, tmp_path: Path) -> None:
    write(tmp_path, "train.jsonl", [ROW, {**ROW, "tags": ["B-PER", missing, "O", "O"]}])
    keys: dict[str, Any] = {"path": str(tmp_path), "train": "train.jsonl", "metric": "accuracy"}
    with pytest.raises(
        UserError, match=f"train.jsonl:2, word 2: found '{missing}', which programs"
    ):
        task_of(**keys, labels=None)
    assert task_of(**keys, labels=[*LABELS, missing]).rows("train")


_LINE = "nw/x 0 0 {} NN * {} - - - {} {} -\n"
BRACKETS = {
    "dev.words": "It\nrained\n",
    "dev.props": "- (AM-TMP*)\nrain (V*)\n",
    "dev.v4_gold_conll": _LINE.format("It", "-", "(GPE)", "(ARG0*)")
    + _LINE.format("rained", "rain", "*", "(V*)"),
}


@pytest.mark.parametrize(
    ("name", "layout", "file", "row"),
    [
        ("srl/conll2005", "props", "dev.props", {"index": 1, "tags": ["B-AM-TMP", "B-V"]}),
        ("tagging", "props", "dev.props", {"index": 1, "tags": ["B-AM-TMP", "B-V"]}),
        (
            *("srl/conll2012", "conll2012", "dev.v4_gold_conll"),
            {"index": 1, "tags": ["B-ARG0", "B-V"]},
        ),
        ("ner/ontonotes5", "conll2012", "dev.v4_gold_conll", {"ner_tags": ["B-GPE", "O"]}),
        ("tagging", "conll2012", "dev.v4_gold_conll", {"tags": ["B-GPE", "O"]}),
    ],
)
def test_files_of_brackets_as_published(
    name: str, layout: str, file: str, row: dict[str, Any], tmp_path: Path
) -> None:
    for written, content in BRACKETS.items():
        (tmp_path / written).write_text(content)
    task = task_of(name=name, layout=layout, path=str(tmp_path), validation=file)
    assert task.rows("validation") == [{"tokens": ["It", "rained"], **row}]
