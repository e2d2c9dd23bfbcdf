"""Examples of token ids become a batch of tensors, padded on the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Batch = dict[str, Tensor]

NO_LABEL = -100  # what cross_entropy leaves out


@dataclass(frozen=True)
class Example:
    """One row, tokenized.

    Attributes:
        index: position of the row in its split.
        inputs: lists of one number a token, `input_ids` among them.
        label: number of the class; None where it is not known.
    """

    index: int
    inputs: dict[str, list[int]]
    label: int | None

    @property
    def length(self) -> int:
        """Tokens of the text."""
        return len(self.inputs["input_ids"])


@dataclass(frozen=True)
class Padding:
    """What fills a batch where a text ends.

    Attributes:
        token: id in `input_ids`. Every other input is filled with 0.
    """

    token: int

    @classmethod
    def of(cls, tokenizer: Any) -> Padding:
        """The tokenizer's padding, or its end-of-text token where it has none (GPT-2)."""
        for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
            if token is not None:
                return cls(int(token))
        return cls(0)


def collate(examples: Sequence[Example], pad: Padding) -> Batch:
    """A batch of at least one example; all examples have the same inputs.

    Returns:
        Int64 tensors: `input_ids`, `attention_mask` and any other input [batch, longest],
        `labels` [batch] with -100 where there is none, `index` [batch].
    """
    longest = max(example.length for example in examples)
    batch = {
        name: _padded(
            [example.inputs[name] for example in examples],
            longest,
            pad.token if name == "input_ids" else 0,
        )
        for name in examples[0].inputs
    }
    batch["attention_mask"] = _padded([[1] * example.length for example in examples], longest, 0)
    batch["labels"] = torch.tensor(
        [NO_LABEL if example.label is None else example.label for example in examples]
    )
    batch["index"] = torch.tensor([example.index for example in examples])
    return batch


def _padded(rows: Sequence[list[int]], length: int, filler: int) -> Tensor:
    return torch.tensor([row + [filler] * (length - len(row)) for row in rows])
