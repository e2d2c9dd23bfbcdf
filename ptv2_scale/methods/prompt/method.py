"""The method `prompt`: a recipe's section becomes input embeddings, and they an export and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ptv2_scale.backbones.tensor_files import Tensors, read_tensors
from ptv2_scale.config import PromptTuning
from ptv2_scale.methods.base import Adapter, Inputs, Method, PeftFiles, RunModel
from ptv2_scale.methods.facts import Size, read_facts
from ptv2_scale.methods.guard import MethodUnusedError, check_effect, check_finite, weighted_sum
from ptv2_scale.methods.init_text import init_tokens
from ptv2_scale.methods.prompt.entry import PromptAdapter, PromptTable
from ptv2_scale.methods.prompt.first_rows import embedding_rows, sampled_ids, vocabulary
from ptv2_scale.methods.room import FrontTokens, check_room
from ptv2_scale.runtime.errors import UserError

TABLE = "embedding.weight"
EXPORTED = "prompt"  # name of the embeddings in an export


@dataclass(frozen=True)
class PromptFacts:
    """What a reader of an exported prompt must know beside the recipe.

    Attributes:
        length: tokens.
        width: of an embedding.
    """

    length: Size
    width: Size


_FACTS = TypeAdapter(PromptFacts)


class InputPromptMethod(Method):
    """What all methods do that put trained embeddings in front of a text."""

    ADAPTER: ClassVar[str] = "prompt_encoder"

    @property
    def width(self) -> int:
        """Width of an input embedding."""
        return self.family.embedding_width(self.config)

    @property
    def front(self) -> int:
        """See `Method`."""
        return int(self.section.length)

    def check_length(self, max_length: int) -> None:
        """See `Method`: the prompt takes positions as text does, in every family."""
        length = self.section.length
        check_room(self.family, self.config, max_length, FrontTokens(length, length, "prompt"))

    def guard(self, run: RunModel, model: Any, inputs: Inputs) -> None:
        """See `Method`: every embedding gets a gradient, and without them the output is another."""
        training = model.training
        model.train()
        assert isinstance(model.adapter, PromptAdapter)
        entry = model.adapter.entry()
        outputs = run(entry=entry, **inputs).outputs
        # Through the embeddings alone: the parameters' own gradients belong to DeepSpeed.
        (gradient,) = torch.autograd.grad(weighted_sum(outputs), entry.embeddings)
        check_finite(gradient, "prompt")
        silent = [row for row, one in enumerate(gradient) if not one.any()]
        if silent:
            raise MethodUnusedError(f"no gradient reaches the prompt's embedding {silent[0] + 1}.")
        model.eval()
        check_effect(run, inputs, "prompt")
        model.train(training)

    def facts(self) -> dict[str, Any]:
        """See `Method`."""
        return {"length": self.section.length, "width": self.width}

    @classmethod
    def from_export(cls, tensors: Tensors) -> Tensors:
        """See `Method`."""
        return tensors.renamed({EXPORTED: f"{cls.ADAPTER}.{TABLE}"})

    @classmethod
    def to_peft(cls, section: Any, facts: Mapping[str, Any], file: Path) -> PeftFiles | str:
        """See `Method`: PEFT's PROMPT_TUNING.

        RoBERTa's head reads the first column of its input, which in PEFT is the prompt's own.
        """
        known = read_facts(_FACTS, facts)
        prompt = read_tensors(file).get(EXPORTED)
        sizes = (known.length, known.width)
        if prompt is None or tuple(prompt.shape) != sizes:
            raise UserError(f"{file}: holds no prompt of {list(sizes)}, as its card says.")
        config = {
            "peft_type": "PROMPT_TUNING",
            "prompt_tuning_init": "RANDOM",
            "num_virtual_tokens": known.length,
            "token_dim": known.width,
            "num_transformer_submodules": 1,
        }
        heads = frozenset({"bert", "score"})
        return PeftFiles(config, {"prompt_embeddings": prompt.float().contiguous()}, heads)


class PromptTuningMethod(InputPromptMethod):
    """Trained input embeddings, and nothing between them and the backbone."""

    TAGS: ClassVar[tuple[str, ...]] = ("prompt-tuning",)
    section: PromptTuning

    def adapter(self, backbone: nn.Module) -> PromptTable:
        """See `Method`."""
        return PromptTable(self.section.length, self.width)

    def first_values(self, seed: int) -> dict[str, Tensor]:
        """See `Method`; "vocabulary" and "text" are written over it later."""
        generator = torch.Generator().manual_seed(seed)
        sizes = (self.section.length, self.width)
        return {TABLE: torch.randn(sizes, generator=generator) * self.section.init_scale}

    def check_start(self, tokenizer: Any) -> None:
        """See `Method`."""
        self._first_ids(tokenizer, 0)

    def _first_ids(self, tokenizer: Any, seed: int) -> list[int]:
        section = self.section
        if section.init == "text":
            text = str(section.init_text)
            return init_tokens(text, section.length, tokenizer, self.family, self.config)
        if section.init == "vocabulary":
            rows = self.family.tables(self.config)["input_ids"]
            allowed = vocabulary(tokenizer, rows, section.init_ids)
            return sampled_ids(section.length, allowed, seed)
        return []

    def start_values(
        self,
        run: RunModel,
        adapter: Adapter | None,
        tokenizer: Any,
        seed: int,
        device: torch.device,
    ) -> dict[str, Tensor]:
        """See `Method`: rows of the backbone's own embedding."""
        ids = self._first_ids(tokenizer, seed)
        return {TABLE: embedding_rows(run, ids, device)} if ids else {}

    def describe(self) -> list[str]:
        """See `Method`."""
        return [f"prompt: {self.section.length} input embeddings x {self.width}"]

    @classmethod
    def to_export(cls, trained: Tensors) -> Tensors:
        """See `Method`: the prompt [length, width]."""
        return trained.renamed({f"{cls.ADAPTER}.{TABLE}": EXPORTED})
