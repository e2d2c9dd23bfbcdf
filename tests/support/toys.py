"""A kind of task and a method of another package: a label a token, a bias on input embeddings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from ptv2_scale.config import MethodSection, TaskSection
from ptv2_scale.data.collate import IGNORED, Batch, Example, Padding, pad_inputs, pad_rows
from ptv2_scale.data.splits import LocalSplits
from ptv2_scale.methods.base import Adapter, Entry, Inputs, Method, Wrapped
from ptv2_scale.methods.registry import register_method
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Record, Submission, Trivial
from ptv2_scale.tasks.heads import Head
from ptv2_scale.tasks.registry import register_kind

TAGS = ("even", "odd", "other")


class TokenLabels(TaskSection):
    """One tag for each token."""

    kind: Literal["token_labels"] = Field(description="One tag for each token.")
    tags: list[str] = Field(default_factory=lambda: list(TAGS), description="All tags.")


class TokenHead(Head):
    """One linear layer on every token's state."""

    KIND = "token"

    def __init__(self, width: int, tags: int) -> None:
        super().__init__()
        self.out_proj = nn.Linear(width, tags)

    def features(self, hidden: Tensor, pooled: Tensor | None, attention_mask: Tensor) -> Tensor:
        return hidden

    def forward_features(self, features: Tensor) -> Tensor:
        return self.out_proj(features.to(self.out_proj.weight.dtype))

    def split(self, features: Tensor, attention_mask: Tensor) -> list[Tensor]:
        pairs = zip(features.float().cpu(), attention_mask.cpu(), strict=True)
        return [states[mask.bool()] for states, mask in pairs]

    def join(self, features: Sequence[Tensor]) -> Tensor:
        return pad_sequence(list(features), batch_first=True)


@dataclass(frozen=True)
class TokenTask:
    """Texts of words with a space between, and as many tags."""

    section: TokenLabels

    columns = ("text",)
    labels = TAGS
    metric = "token_accuracy"

    @property
    def name(self) -> str:
        return self.section.name

    def resolved(self) -> TokenLabels:
        return self.section

    def describe(self) -> list[str]:
        return [f"tags: {', '.join(self.section.tags)}"]

    def describe_rows(self, rows: Any) -> list[str]:
        return []

    def place(self, split: str) -> str:
        return f"{self.section.path}, {split}"

    def check_row(self, row: Any, number: int) -> None:
        assert isinstance(row["text"], str)

    def rows(self, split: Any) -> list[dict[str, object]]:
        files = {"train": self.section.train, "validation": self.section.validation}
        splits = LocalSplits(Path(str(self.section.path)), files)
        return splits.rows(split, ("text", "tags"))

    def submission(self, board: str, source: Path) -> Submission:
        raise UserError("there is no leaderboard")

    def encode(
        self, rows: Any, tokenizer: Any, style: Any, max_length: int, with_targets: bool = True
    ) -> list[Example]:
        examples = []
        for number, row in enumerate(rows):
            ids = tokenizer(str(row["text"]))["input_ids"]
            target = None
            if with_targets:
                inner = [self.section.tags.index(tag) for tag in str(row["tags"]).split()]
                target = [IGNORED, *inner, IGNORED]
                assert len(target) == len(ids) <= max_length
            examples.append(Example(number, {"input_ids": ids}, target))
        return examples

    def longest(self, length: int) -> list[Example]:
        return [Example(0, {"input_ids": [0] * length})]

    def head(self, family: Any, config: Any) -> TokenHead:
        return TokenHead(family.width(config), len(self.section.tags))

    def collate(self, examples: Sequence[Example], pad: Padding) -> Batch:
        return Batch(pad_inputs(examples, pad), self.targets(examples))

    def targets(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        rows = [one.target or [IGNORED] * one.length for one in examples]
        return {"tags": pad_rows(rows, max(map(len, rows)), IGNORED)}

    def loss_sum(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        flat, truth = outputs.float().flatten(0, 1), targets["tags"].flatten()
        return functional.cross_entropy(flat, truth, ignore_index=IGNORED, reduction="sum")

    def loss_count(self, examples: Sequence[Example]) -> int:
        return sum(tag != IGNORED for one in examples for tag in one.target)

    def decode(self, outputs: Tensor, examples: Sequence[Example]) -> list[Record]:
        best = outputs.argmax(-1).tolist()
        return [
            {"tags": [self.section.tags[tag] for tag in row[1 : one.length - 1]]}
            for row, one in zip(best, examples, strict=True)
        ]

    def combine(self, records: Sequence[Record]) -> Record:
        (record,) = records
        return record

    def score(self, records: Any, rows: Any) -> dict[str, float]:
        truth = [tag for row in rows for tag in str(row["tags"]).split()]
        found = [tag for record in records for tag in record["tags"]]
        right = sum(one == other for one, other in zip(truth, found, strict=True))
        return {self.metric: right / len(truth)}

    def trivial(self, rows: Any) -> Trivial:
        truth = Counter(tag for row in rows for tag in str(row["tags"]).split())
        return Trivial(max(truth.values()) / truth.total(), "the most frequent tag")


class InputBias(MethodSection):
    """A trained bias on the input embeddings."""

    method: Literal["input_bias"] = Field(description="A trained bias on the input embeddings.")
    idle_tables: int = Field(default=0, description="More trained tables, which are not used.")
    table_size: int = Field(default=1, description="Elements of an idle table.")


class Bias(Adapter):
    """What is added to every input embedding."""

    def __init__(self, width: int, tables: int, size: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))
        self.idle = nn.ParameterList([nn.Parameter(torch.zeros(size)) for _ in range(tables)])

    def forward(self, embeddings: Tensor) -> Tensor:
        return embeddings + self.bias

    def entry(self) -> BiasEntry:
        return BiasEntry(self)


class BiasEntry(Entry):
    """Input embeddings in place of token ids."""

    def __init__(self, adapter: Bias) -> None:
        self._adapter = adapter

    def wrap(self, inputs: Inputs, backbone: nn.Module) -> Wrapped:
        embeddings = backbone.get_input_embeddings()(inputs.pop("input_ids"))
        return Wrapped({**inputs, "inputs_embeds": self._adapter(embeddings)})


class InputBiasMethod(Method):
    """The bias alone is trained, beside the head."""

    ADAPTER: ClassVar[str] = "input_bias"

    def adapter(self, backbone: nn.Module) -> Bias:
        width = backbone.get_input_embeddings().weight.shape[1]
        return Bias(width, self.section.idle_tables, self.section.table_size)

    def first_values(self, seed: int) -> dict[str, Tensor]:
        sizes = [self.section.table_size] * self.section.idle_tables
        tables = {f"idle.{number}": torch.zeros(size) for number, size in enumerate(sizes)}
        return {"bias": torch.zeros(int(self.config.hidden_size)), **tables}

    def describe(self) -> list[str]:
        return ["a bias on the input embeddings"]


register_kind(TokenLabels, TokenTask)
register_method(InputBias, InputBiasMethod)
