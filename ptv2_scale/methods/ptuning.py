"""P-Tuning: input embeddings that are trained by way of an encoder, folded away in exports.

After Liu et al., "GPT Understands, Too" (2021). The encoder's layers and their names are those of
PEFT's PromptEncoder: two bidirectional LSTM layers and an MLP of two, or an MLP of three.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ptv2_scale.backbones.tensor_files import NamedTensors, Tensors, read_whole
from ptv2_scale.config import PTuning
from ptv2_scale.methods.prompt.entry import PromptAdapter, PromptTable
from ptv2_scale.methods.prompt.method import EXPORTED, TABLE, InputPromptMethod

_LSTM_LAYERS = 2


class _MlpEncoder(PromptAdapter):
    """A table behind an MLP."""

    def __init__(self, length: int, width: int, hidden: int) -> None:
        super().__init__()
        self.table = PromptTable(length, width)
        self.mlp_head = nn.Sequential(
            *(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()),
            nn.Linear(hidden, width),
        )

    def forward(self) -> Tensor:
        """See `PromptAdapter`."""
        made: Tensor = self.mlp_head(self.table())
        return made


class _LstmEncoder(PromptAdapter):
    """A table behind a bidirectional LSTM and an MLP: embeddings know of one another."""

    def __init__(self, length: int, width: int, hidden: int) -> None:
        super().__init__()
        self.table = PromptTable(length, width)
        self.lstm_head = nn.LSTM(
            width, hidden, num_layers=_LSTM_LAYERS, bidirectional=True, batch_first=True
        )
        self.mlp_head = nn.Sequential(
            nn.Linear(2 * hidden, 2 * hidden), nn.ReLU(), nn.Linear(2 * hidden, width)
        )

    def forward(self) -> Tensor:
        """See `PromptAdapter`."""
        states, _ = self.lstm_head(self.table()[None])
        made: Tensor = self.mlp_head(states[0])
        return made


def prompt_encoder(kind: str, length: int, width: int, hidden: int) -> PromptAdapter:
    """What makes the embeddings of a prompt.

    Args:
        kind: "lstm", "mlp", or "table", which is none.
        length: of the prompt.
        width: of an input embedding.
        hidden: width of the encoder.
    """
    if kind == "table":
        return PromptTable(length, width)
    return (_LstmEncoder if kind == "lstm" else _MlpEncoder)(length, width, hidden)


class PTuningMethod(InputPromptMethod):
    """Input embeddings by way of an encoder."""

    TAGS: ClassVar[tuple[str, ...]] = ("p-tuning",)
    section: PTuning

    @property
    def _hidden(self) -> int:
        return self.section.hidden or self.width

    def adapter(self, backbone: nn.Module) -> PromptAdapter:
        """See `Method`."""
        section = self.section
        return prompt_encoder(section.encoder, section.length, self.width, self._hidden)

    def first_values(self, seed: int) -> dict[str, Tensor]:
        """See `Method`: PyTorch's own for every layer, drawn from the seed."""
        section = self.section
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = prompt_encoder(section.encoder, section.length, self.width, self._hidden)
        values = {name: value.detach() for name, value in encoder.state_dict().items()}
        return {
            name: value * section.init_scale if name.endswith(TABLE) else value
            for name, value in values.items()
        }

    def describe(self) -> list[str]:
        """See `Method`."""
        section = self.section
        by = "" if section.encoder == "table" else f", made by an {section.encoder.upper()}"
        return [f"prompt: {section.length} input embeddings x {self.width}{by}"]

    @classmethod
    def to_export(cls, trained: Tensors) -> Tensors:
        """See `Method`: the prompt [length, width], the encoder folded in."""
        table = f"{cls.ADAPTER}.{TABLE}"
        if trained.names() == [table]:
            return trained.renamed({table: EXPORTED})
        stem = f"{cls.ADAPTER}."
        values = {name.removeprefix(stem): read_whole(trained, name) for name in trained.names()}
        return Tensors.of(NamedTensors({EXPORTED: _folded(values)}), [EXPORTED])


def _folded(values: dict[str, Tensor]) -> Tensor:
    """What an encoder makes, from its parameters by name."""
    length, width = values[f"table.{TABLE}"].shape
    lstm = "lstm_head.weight_hh_l0" in values
    hidden = values["lstm_head.weight_hh_l0" if lstm else "mlp_head.0.weight"].shape
    encoder = prompt_encoder("lstm" if lstm else "mlp", length, width, hidden[1 if lstm else 0])
    encoder.load_state_dict(values)
    with torch.no_grad():
        made: Tensor = encoder()
    return made
