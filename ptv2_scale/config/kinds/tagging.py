"""The section `task` of a recipe for a tag on every word."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from ptv2_scale.config.task import TASKS, TaskSection
from ptv2_scale.config.values import Text, unique


def _a_column(number: int) -> int:
    if number == 0:
        raise ValueError("columns are counted from 1, or from -1 backwards")
    return number


Column = Annotated[int, Field(ge=-100, le=100), AfterValidator(_a_column)]


@TASKS.add
class Tagging(TaskSection):
    """A tag on every word: named entities, semantic roles, or any other."""

    NAMES: ClassVar[tuple[str, ...]] = (
        *("ner/conll2003", "ner/conll04", "ner/ontonotes5", "ner/wnut17"),
        *("srl/conll2005", "srl/conll2012", "demo-tags", "tagging"),
    )
    PEFT_TASK_TYPE: ClassVar[str | None] = "TOKEN_CLS"
    FOUND: ClassVar[frozenset[str]] = frozenset({"labels", "metric"})

    kind: Literal["tagging"] = Field(default="tagging", description="A tag on every word.")
    tokens: Text = Field(
        default="tokens", description="Column of the list of words, in files that have lists."
    )
    tags: Text | None = Field(
        default=None, description="Column of the list of tags; null: the benchmark's own, or tags."
    )
    predicate: Text | None = Field(
        default=None,
        description="Column of the number, from 0, of the word that the tags are about, which the"
        " input then names; null: the benchmark's own, or none.",
    )
    layout: Literal["columns", "predicates", "props", "conll2012"] | None = Field(
        default=None,
        description="Text files: columns (a word and its tag a line), predicates (P-Tuning v2's for"
        " semantic roles, a sentence a line: 'INDEX words ||| tags'), props (CoNLL-2005's brackets)"
        " or conll2012 (_conll files: roles where the task has a predicate, else entities); null:"
        " the benchmark's own, or columns.",
    )
    word_column: Column | None = Field(
        default=None,
        description="Column of the word, from 1, or from -1 backwards; null: the benchmark's own,"
        " or 1.",
    )
    tag_column: Column | None = Field(
        default=None, description="Column of the tag; null: the benchmark's own, or -1."
    )
    comments: bool = Field(
        default=False, description="Leave out lines that begin with #, as in .conllu files."
    )
    labels: Annotated[list[Text], Field(min_length=2), AfterValidator(unique)] | None = Field(
        default=None,
        description="All tags in their order; null: the benchmark's own, or as found in training.",
    )
    subword: Literal["first", "last"] = Field(
        default="first",
        description="Which sub-word's state a word's tag is read from; last: for models that read"
        " from left to right.",
    )
    overlap: Annotated[int, Field(ge=0, le=2**20)] = Field(
        default=32,
        description="Most tokens that two windows of a sentence longer than max_length share.",
    )
    metric: Literal["f1", "accuracy"] | None = Field(
        default=None,
        description="What decides which checkpoint is best: f1 of whole entities, as conlleval"
        " counts them, or accuracy of words; null: f1.",
    )
    head: Literal["linear", "hf"] | None = Field(
        default=None,
        description="hf has the dropout of transformers' own; null: the family's default.",
    )
