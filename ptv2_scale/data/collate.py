"""Examples of token ids become tensors, padded on the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

IGNORED = -100  # a target that cross_entropy leaves out


@dataclass(frozen=True)
class Example:
    """What a model reads at once of a row, tokenized; a row may need several of them.

    Attributes:
        row: position of the row in its split.
        inputs: lists of one number a token, `input_ids` among them.
        target: the right answer, in a form that only the kind of task knows; None: not known.
    """

    row: int
    inputs: dict[str, list[int]]
    target: Any = None

    @property
    def length(self) -> int:
        """Tokens of the text."""
        return len(self.inputs["input_ids"])


@dataclass(frozen=True)
class Batch:
    """Some examples as tensors.

    Attributes:
        inputs: of the backbone, [batch, longest], `input_ids` and `attention_mask` among them.
        targets: the right answers, in a form that only the kind of task knows.
    """

    inputs: dict[str, Tensor]
    targets: dict[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(_moved(self.inputs, device), _moved(self.targets, device))


def _moved(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in tensors.items()}


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


def pad_inputs(examples: Sequence[Example], pad: Padding) -> dict[str, Tensor]:
    """Inputs of at least one example; all examples have the same inputs.

    Returns:
        Int64 tensors [batch, longest]: the examples' inputs, and `attention_mask`.
    """
    longest = max(example.length for example in examples)
    inputs = {
        name: pad_rows(
            [example.inputs[name] for example in examples],
            longest,
            pad.token if name == "input_ids" else 0,
        )
        for name in examples[0].inputs
    }
    inputs["attention_mask"] = pad_rows([[1] * example.length for example in examples], longest, 0)
    return inputs


def pad_rows(rows: Sequence[list[int]], length: int, filler: int) -> Tensor:
    """Lists of numbers as one int64 tensor [rows, length], filled on the right."""
    return torch.tensor([row + [filler] * (length - len(row)) for row in rows])
