"""The section `task` of a recipe for classification."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ptv2_scale.config.rules import Conflict, Partner, Partners
from ptv2_scale.config.task import TASKS, TaskSection
from ptv2_scale.config.values import Text


@TASKS.add
class Classification(TaskSection):
    """One label out of a fixed set for each row."""

    PARTNERS: ClassVar[Partners] = {
        "text": Partner("name", "classification", needs=True),
        "text_pair": Partner("name", "classification"),
        "label": Partner("name", "classification", needs=True),
        "pattern": Partner("head", "verbalizer"),
        "verbalizer": Partner("head", "verbalizer"),
    }
    NAMES: ClassVar[tuple[str, ...]] = (
        *("superglue/boolq", "superglue/cb", "superglue/rte", "superglue/wic", "superglue/wsc"),
        *("glue/cola", "glue/sst2", "glue/mrpc", "glue/qqp", "glue/mnli", "glue/mnli_mismatched"),
        *("glue/qnli", "glue/rte", "glue/wnli", "demo", "classification"),
    )
    PEFT_TASK_TYPE: ClassVar[str | None] = "SEQ_CLS"
    FOUND: ClassVar[frozenset[str]] = frozenset(
        {"labels", "metric", "positive", "pattern", "verbalizer"}
    )

    @classmethod
    def replaced_by(cls, key: str, value: object) -> set[str]:
        """See `Section`: without f1 no class is its own."""
        idle = {"positive"} if key == "metric" and value != "f1" else set()
        return super().replaced_by(key, value) | idle

    kind: Literal["classification"] = Field(
        default="classification", description="One label out of a fixed set for each row."
    )
    text: Text | None = Field(
        default=None, description="Column of the text; name: classification only."
    )
    text_pair: Text | None = Field(
        default=None, description="Column of a second text; name: classification only."
    )
    label: Text | None = Field(
        default=None, description="Column of the label; name: classification only."
    )
    labels: Annotated[list[Text], Field(min_length=2)] | None = Field(
        default=None,
        description="All labels in their order; null: the task's own, or as found: numbers in"
        " their order, then words in the alphabet's.",
    )
    unlabelled: Literal["refuse", "skip"] = Field(
        default="refuse", description="What to do with a row whose label is missing."
    )
    positive: Text | None = Field(
        default=None, description="The class that metric f1 is of; null: the second."
    )
    metric: Literal["accuracy", "f1", "f1_macro", "matthews"] | None = Field(
        default=None, description="What decides which checkpoint is best; null: the task's own."
    )
    head: Literal["linear", "hf", "verbalizer"] | None = Field(
        default=None,
        description="hf mirrors transformers' own, verbalizer reads words from the pretrained head"
        " over the vocabulary; null: the family's default.",
    )
    pattern: Text | None = Field(
        default=None,
        description="Text around the columns, each in braces, with {mask} where the word stands;"
        " null: the benchmark's own; head: verbalizer only.",
    )
    verbalizer: Annotated[dict[str, Text], Field(min_length=2)] | None = Field(
        default=None,
        description="The word of each label; null: the benchmark's own; head: verbalizer only.",
    )

    @classmethod
    def conflicts(cls, given: Mapping[str, Any]) -> Iterator[Conflict]:
        """See `Section`: data of the user's own has no pattern that were published for it."""
        yield from super().conflicts(given)
        own = given.get("name") in ("classification", "demo")
        for key in ("pattern", "verbalizer"):
            if own and given.get("head") == "verbalizer" and given.get(key) is None:
                yield Conflict(
                    ("head", key),
                    f"task.{key}: missing, but task.head: verbalizer needs it for data of your own."
                    f" Add task.{key}.",
                )
