"""The class of each row, rows without one, and the words of classes."""

from __future__ import annotations

import logging
import re
from typing import Literal

import pytest

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.classes import Classes
from ptv2_scale.tasks.labels import LabelReader

ROWS: list[dict[str, object]] = [{"label": "yes"}, {"label": None}, {"label": " no "}]


def classes(unlabelled: Literal["refuse", "skip"] = "refuse") -> Classes:
    return Classes(("no", "yes"), LabelReader(given=("no", "yes")), unlabelled)


def test_a_row_has_the_number_of_its_class() -> None:
    assert [classes().of(row, 1) for row in ROWS] == [1, None, 0]
    with pytest.raises(UserError, match=r"row 3: found the label 'yess'.*Did you mean 'yes'"):
        classes().of({"label": "yess"}, 3)


def test_rows_without_a_label_are_refused_or_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UserError, match=r"row 2: no label in the column 'label'"):
        classes().labelled(ROWS, "train.csv")
    with caplog.at_level(logging.WARNING):
        assert classes("skip").labelled(ROWS, "train.csv") == [ROWS[0], ROWS[2]]
    assert "train.csv: 1 of 3 rows have no label and are left out" in caplog.text
    with pytest.raises(UserError, match=r"^train.csv: no row has a label$"):
        classes("skip").labelled([ROWS[1]], "train.csv")


def test_rows_of_a_test_split_may_lack_a_label_but_have_no_other() -> None:
    assert classes().checked(ROWS) == ROWS
    with pytest.raises(UserError, match="found the label 'perhaps'"):
        classes().checked([*ROWS, {"label": "perhaps"}])


def test_truth_is_of_rows_that_all_have_a_label() -> None:
    assert classes().truth([ROWS[0], ROWS[2]]) == [1, 0]
    with pytest.raises(UserError, match="these rows have no labels"):
        classes().truth(ROWS)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"yes": "great", "no": "bad"}, ("bad", "great")),
        ({"yes": "great"}, "task.verbalizer: no word for the label 'no'"),
        ({"yes": "great", "no": "bad", "mayb": "so"}, "found the label 'mayb', allowed: no, yes"),
    ],
)
def test_words_stand_in_the_order_of_the_classes(
    given: dict[str, str], expected: tuple[str, ...] | str
) -> None:
    if isinstance(expected, tuple):
        assert classes().words(given) == expected
        return
    with pytest.raises(UserError, match=re.escape(expected)):
        classes().words(given)


@pytest.mark.parametrize("labels", [("yes",), ("1", "1.0"), ("yes", " ")])
def test_fewer_than_two_different_labels_are_refused(labels: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="expected two or more different labels"):
        Classes(labels, LabelReader(), "refuse")
