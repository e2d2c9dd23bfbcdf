"""Examples of token ids become tensors, padded on the right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, islice, pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

IGNORED = -100  # a target that cross_entropy leaves out


@dataclass(frozen=True)
class Example:
    """What a model reads at once of a row, tokenized; a row may need several of them.

    Attributes:
        row: position of the row in its split.
        inputs: lists of one number a token, `input_ids` among them.
        target: the right answer, in a form that only the kind of task knows; None: not known.
        sequences: lengths of the sequences that `inputs` are the concatenation of, each of which
            is a line of a batch; (): they are one.
        answers: texts that are scored as right, where `target` does not say all of them.
        source: what the kind of task needs to make an answer of the outputs, in its own form.
        part: the task that it is of, where there are several; those of a batch are of one.
    """

    row: int
    inputs: dict[str, list[int]]
    target: Any = None
    sequences: tuple[int, ...] = ()
    answers: tuple[str, ...] = ()
    source: Any = None
    part: str | None = None

    @property
    def length(self) -> int:
        """Tokens of the text, of all sequences together."""
        return len(self.inputs["input_ids"])

    def lines(self, name: str) -> list[list[int]]:
        """One of the inputs, by sequence."""
        numbers, ends = self.inputs[name], list(accumulate(self.sequences or (self.length,)))
        return [numbers[start:end] for start, end in pairwise((0, *ends))]


@dataclass(frozen=True)
class Batch:
    """Some examples as tensors.

    Attributes:
        inputs: of the backbone, [sequences, longest], `input_ids` and `attention_mask` among them.
        targets: the right answers, in a form that only the kind of task knows.
        part: the task that the batch is of, where the model has several.
        right_padded: whether texts are known to be padded on the right alone, if at all.
    """

    inputs: dict[str, Tensor]
    targets: dict[str, Tensor] = field(default_factory=dict)
    part: str | None = None
    right_padded: bool = False

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return self.moved(lambda given: {name: one.to(device) for name, one in given.items()})

    def moved(self, move: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]) -> Batch:
        """The same with its tensors moved.

        Where texts are padded is looked at before, for to look on a GPU is to wait for it.
        """
        masks = [one for name, one in self.inputs.items() if name.endswith("attention_mask")]
        known = self.right_padded or all(map(_is_right_padded, masks))
        return Batch(move(self.inputs), move(self.targets), self.part, known)

    @property
    def arguments(self) -> dict[str, Any]:
        """What a prompted model is called with."""
        part = {} if self.part is None else {"part": self.part}
        known = {"right_padded": True} if self.right_padded else {}
        return {**self.inputs, **part, **known}


def _is_right_padded(mask: Tensor) -> bool:
    """Whether each row of a mask [sequences, n] on the CPU is some ones, and zeros behind them."""
    if mask.device.type != "cpu" or mask.dim() != 2:
        return False
    return bool((mask[:, 1:] <= mask[:, :-1]).all())


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


def by_part(examples: Sequence[Example]) -> list[tuple[int, ...]]:
    """Indices of examples that may stand in one batch, task by task in the order they come in."""
    found: dict[str | None, list[int]] = {}
    for index, example in enumerate(examples):
        found.setdefault(example.part, []).append(index)
    return [tuple(indices) for indices in found.values()]


def pad_inputs(examples: Sequence[Example], pad: Padding) -> dict[str, Tensor]:
    """Inputs of at least one example; all examples have the same inputs.

    Returns:
        Int64 tensors [sequences, longest]: the examples' inputs, and `attention_mask`.
    """
    ids = [line for example in examples for line in example.lines("input_ids")]
    longest = max(map(len, ids))
    inputs = {
        name: pad_rows(
            [line for example in examples for line in example.lines(name)],
            longest,
            pad.token if name == "input_ids" else 0,
        )
        for name in examples[0].inputs
    }
    inputs["attention_mask"] = pad_rows([[1] * len(line) for line in ids], longest, 0)
    return inputs


def by_example(values: Sequence[T], examples: Sequence[Example]) -> list[list[T]]:
    """Values of a batch, one a sequence, as those of each example."""
    assert len(values) == sum(len(one.sequences) or 1 for one in examples)
    rest = iter(values)
    return [list(islice(rest, len(one.sequences) or 1)) for one in examples]


def pad_rows(rows: Sequence[list[int]], length: int, filler: int) -> Tensor:
    """Lists of numbers as one int64 tensor [rows, length], filled on the right."""
    return torch.tensor([row + [filler] * (length - len(row)) for row in rows])
