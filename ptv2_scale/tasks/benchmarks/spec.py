"""What there is to say of a published benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ptv2_scale.config import Quoting
from ptv2_scale.data.rows import PlacedRow
from ptv2_scale.data.splits import Split
from ptv2_scale.tasks.questions import ReadQuestions

# (a row of a published file, its record) -> the lines of a leaderboard's file, as JSON has them
Submit = Callable[[PlacedRow, Mapping[str, Any]], list[dict[str, object]]]


@dataclass(frozen=True, kw_only=True)
class BenchmarkSpec:
    """A published benchmark, declared as data: what every kind of task has.

    Attributes:
        name: the name in a recipe, which is among the `NAMES` of its kind's section.
        dataset, subset: where the hub has it; None: it does not, in a form without code.
        files: file names of the published folder.
        columns: the columns that are read.
        metric: the published metric.
        also: metrics reported beside it.
        header: column names of files without a header line.
        rename: the hub's names of the published files' columns.
        quoting: of the published files, by their suffix.
        skip_short: some published rows have too few fields; the hub leaves them out, too.
        hub_splits: the hub's names of splits, where they are others.
        submits: the leaderboard's name of a file with answers, by the name of the published file
            whose rows they answer; a file of any other name counts as the first.
    """

    name: str
    dataset: str | None
    subset: str | None
    files: Mapping[Split, str]
    columns: tuple[str, ...]
    metric: str = "accuracy"
    also: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    quoting: Mapping[str, Quoting] = field(default_factory=dict)
    skip_short: bool = False
    hub_splits: Mapping[Split, str] = field(default_factory=dict)
    submits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ClassificationSpec(BenchmarkSpec):
    """A benchmark of one label a row.

    Attributes:
        labels: the classes, as the published files write them.
        templates: join the columns to one text, or to two; (): each column is a text.
        inside: the column that holds the others in the published files.
        hub_labels: the hub's name of each class, in the order of `labels`.
        submitted: what the leaderboard takes for each class, in the same order; (): the labels.
        pattern: what `task.head: verbalizer` reads where a recipe has no pattern of its own; "":
            none was published.
        words: the word of each class there, in the order of `labels`.
    """

    labels: tuple[str, ...]
    templates: tuple[str, ...] = ()
    inside: str | None = None
    hub_labels: tuple[str, ...] = ()
    submitted: tuple[str, ...] = ()
    pattern: str = ""
    words: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RegressionSpec(BenchmarkSpec):
    """A benchmark of a score a row.

    Attributes:
        least, most: the range of scores.
    """

    least: float
    most: float


@dataclass(frozen=True, kw_only=True)
class ChoiceSpec(BenchmarkSpec):
    """A benchmark of candidates, of which some are right.

    Attributes:
        choose: how many; see `CHOOSING`.
        read: the questions of a row, as the published files and the hub have them.
        several: a row of the published files may have several questions.
        submit: what the leaderboard takes for a row and its record, as JSON.
    """

    choose: str
    read: ReadQuestions
    submit: Submit
    several: bool = False


@dataclass(frozen=True, kw_only=True)
class TaggingSpec(BenchmarkSpec):
    """A benchmark of a tag on every word.

    Attributes:
        labels: the tags in their order; (): as training has them.
        tags: column of the list of tags, where files have lists.
        predicate: column of the number of the word that the tags are about.
        layout: of the published text files; see `task.layout`.
        word_column, tag_column: of such files, from 1, or from -1 backwards.
    """

    labels: tuple[str, ...] = ()
    tags: str = "tags"
    predicate: str | None = None
    layout: Literal["columns", "predicates"] = "columns"
    word_column: int = 1
    tag_column: int = -1


@dataclass(frozen=True, kw_only=True)
class SpanSpec(BenchmarkSpec):
    """A benchmark of answers that are spans of a text.

    Attributes:
        no_answer: questions may have none.
    """

    no_answer: bool = False
