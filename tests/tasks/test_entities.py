"""Entity scores against conlleval's own rules, written out again from its definition."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptv2_scale.tasks.entities import (
    as_iobes,
    entity_scores,
    in_tag_order,
    marks_entities,
    tag_counts,
    word_accuracy,
)

Chunk = tuple[int, int, str]


def split(tag: str) -> tuple[str, str]:
    mark, _, kind = tag.partition("-")
    return mark, kind


def conlleval_chunks(tags: Sequence[str]) -> set[Chunk]:
    """Chunks by the rules of conlleval.pl for B, I and O: a chunk begins at B, at an I behind O or
    behind another type, and ends before whatever does not go on with it."""
    chunks, start = set(), None
    before = ("O", "")
    for place, tag in enumerate([*tags, "O"]):
        mark, kind = split(tag)
        ends = before[0] != "O" and (mark in "BO" or kind != before[1])
        begins = mark == "B" or (mark == "I" and (before[0] == "O" or kind != before[1]))
        if ends:
            assert start is not None
            chunks.add((start, place, before[1]))
        if begins:
            start = place
        before = (mark, kind)
    return chunks


def conlleval(truth: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> dict[str, float]:
    right = guessed = correct = 0
    for one, other in zip(truth, found, strict=True):
        gold, chunks = conlleval_chunks(one), conlleval_chunks(other)
        right, guessed, correct = (
            right + len(gold & chunks), guessed + len(chunks), correct + len(gold)
        )  # fmt: skip
    precision = right / guessed if guessed else 0.0
    recall = right / correct if correct else 0.0
    both = precision + recall
    return {
        "f1": 2 * precision * recall / both if both else 0.0,
        "precision": precision,
        "recall": recall,
    }


IOB = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "I-C-A1", "B-C-A1"])
PAIRS = st.lists(st.tuples(IOB, IOB), min_size=1, max_size=12)


@given(st.lists(PAIRS, min_size=1, max_size=4))
def test_random_tags_score_as_conlleval_has_it(sentences: list[list[tuple[str, str]]]) -> None:
    truth = [[one for one, _ in sentence] for sentence in sentences]
    found = [[other for _, other in sentence] for sentence in sentences]
    assert entity_scores(truth, found) == pytest.approx(conlleval(truth, found))


@pytest.mark.parametrize(
    ("truth", "found", "f1"),
    [
        ("B-A I-A O", "B-A I-A O", 1.0),
        ("B-A I-A O", "I-A I-A O", 1.0),  # an I- without a B- begins an entity
        ("B-A I-A O", "B-A O O", 0.0),  # the whole entity, or nothing
        ("B-A B-A", "B-A I-A", 0.0),
        ("I-A B-A", "B-A B-A", 1.0),  # IOB1: B- only where two of a type touch
        ("B-A I-B", "B-A B-B", 1.0),  # another type is another entity
        ("B-A O", "B-B O", 0.0),
        ("O O", "O O", 0.0),  # nought by nought
        ("O O", "B-A O", 0.0),
        ("B-A O B-B", "B-A O O", 2 / 3),
        ("B-A E-A S-A", "B-A E-A S-A", 1.0),
        ("B-A E-A B-A E-A", "B-A I-A I-A E-A", 0.0),  # conlleval.pl joins these: see the docs
        ("B-A L-A U-A", "B-A E-A S-A", 1.0),  # BILOU's letters for IOBES's
    ],
)
def test_by_hand(truth: str, found: str, f1: float) -> None:
    scores = entity_scores([truth.split()], [found.split()])
    assert scores["f1"] == pytest.approx(f1)


def test_entities_do_not_go_on_in_the_next_sentence() -> None:
    truth = [["O", "B-A"], ["I-A", "O"]]
    assert entity_scores(truth, truth) == {"f1": 1.0, "precision": 1.0, "recall": 1.0}
    assert entity_scores(truth, [["O", "B-A"], ["O", "O"]])["recall"] == 0.5


def test_accuracy_is_of_words() -> None:
    assert word_accuracy([["O", "B-A"], ["O"]], [["O", "O"], ["O"]]) == pytest.approx(2 / 3)


def test_order_and_forms() -> None:
    tags = ["I-PER", "B-PER", "O", "I-LOC", "B-LOC", "S-LOC", "E-LOC"]
    ordered = ("O", "B-LOC", "I-LOC", "E-LOC", "S-LOC", "B-PER", "I-PER")
    assert in_tag_order(tags) == in_tag_order(reversed(tags)) == ordered
    assert marks_entities(tags)
    assert not marks_entities(["O", "NN"])
    assert [as_iobes(tag) for tag in ("L-X-Y", "U-U", "O", "LX")] == ["E-X-Y", "S-U", "O", "LX"]


def test_what_people_read_about_tags() -> None:
    sentences = [["O", "B-A", "I-A"], ["B-A", "O", "O", "O", "B-B"]]
    assert tag_counts(sentences, ["O", "B-A", "I-A", "B-B", "I-B"]) == [
        "2 sentences of 8 words, 50.0% of them O",
        "3 entities: A 2, B 1",
        "warning: no word has I-B",
    ]
    assert tag_counts([["NN", "VB", "NN"]], ["NN", "VB"])[1] == "tags: NN 2, VB 1"


def test_types_that_differ_in_case_alone_are_doubted() -> None:
    said = tag_counts([["B-PER", "B-per", "O"]], ["O", "B-PER", "I-PER", "B-per"])
    assert said[-1].startswith("warning: PER and per differ in case alone")
    pos = ["PRP", "PRP$"]
    assert not any("case" in line for line in tag_counts([pos], pos))
