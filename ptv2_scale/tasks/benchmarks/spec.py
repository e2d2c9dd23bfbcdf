"""What there is to say of a published benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ptv2_scale.config import Quoting
from ptv2_scale.data.splits import Split
from ptv2_scale.tasks.questions import ReadQuestions


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


@dataclass(frozen=True, kw_only=True)
class ClassificationSpec(BenchmarkSpec):
    """A benchmark of one label a row.

    Attributes:
        labels: the classes, as the published files write them.
        template: joins the columns to one text.
        hub_labels: the hub's name of each class, in the order of `labels`.
    """

    labels: tuple[str, ...]
    template: str | None = None
    hub_labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ChoiceSpec(BenchmarkSpec):
    """A benchmark of candidates, of which some are right.

    Attributes:
        choose: how many; see `CHOOSING`.
        read: the questions of a row, as the published files and the hub have them.
        several: a row of the published files may have several questions.
    """

    choose: str
    read: ReadQuestions
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
