"""The interface between a method and everything that builds, trains, exports or serves with it.

A method owns its section of the recipe, says which parameters are trained and with which first
values, how they enter a forward pass, how it is proved that they do, and what its files hold.
Outside of it nothing asks which method it is. A method is one file or package here and one line in
the registry; another package registers its own with `ptv2_scale.methods.registry.register_method`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.backbones.tensor_files import Tensors
from ptv2_scale.methods.room import check_room

PROMPT_FILE = "prompt.safetensors"  # the tensors of an export

Inputs = dict[str, Any]  # of a backbone's forward pass
# Calls a prompted model, DeepSpeed's engine around it or not: (entry=..., **inputs) -> its output.
RunModel = Callable[..., Any]


class Wrapped(NamedTuple):
    """A batch as the backbone gets it.

    Attributes:
        inputs: of the backbone's forward pass; `attention_mask` [batch, columns] covers whatever
            was put in front of the text, too.
        front: columns in front of the text; heads do not see their hidden states.
    """

    inputs: Inputs
    front: int = 0


class Entry:
    """What a method puts into one forward pass; as it is here, nothing.

    Attributes:
        shift: positions that stand in front of the text without being columns of the batch, or
            [rows, 1] of them.
        headless: the pass is for what the backbone computes, and its head is left out.
    """

    shift: int | Tensor = 0
    headless: bool = False

    def wrap(self, inputs: Inputs, backbone: nn.Module) -> Wrapped:
        """Change what the backbone is given: embeddings, masks.

        What is put in front of texts is no padding: a batch that was padded on the right stays so.

        Args:
            inputs: input_ids and attention_mask [batch, n], and what else the tokenizer gave.
            backbone: for its own embeddings.
        """
        return Wrapped(inputs)

    def bind(self) -> AbstractContextManager[None]:
        """Let attention see the method for the forward pass inside."""
        return nullcontext()


# (entries of several models on one backbone, for each row its place among them [rows]) -> one entry
Mix = Callable[[Sequence[Any], Tensor], Entry]


class Adapter(nn.Module, ABC):
    """A method's own parameters on one backbone.

    Attributes:
        kept_elements: number of elements of its parameters that keep their first values.
    """

    kept_elements: int = 0

    @abstractmethod
    def entry(self) -> Entry:
        """What these parameters put into one forward pass, in `train()` or `eval()` mode."""


@dataclass(frozen=True)
class PeftFiles:
    """A method's part of PEFT's folder.

    Attributes:
        config: keys of adapter_config.json.
        tensors: of adapter_model.safetensors.
        heads: kinds of heads for which PEFT's model computes what ours does.
        head_stem: what stands before the names of the head's tensors.
        max_length: tokens of a text up to which PEFT computes the same; None: any number.
    """

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    heads: frozenset[str] = frozenset({"bert", "roberta", "score", "token"})
    head_stem: str = "base_model."
    max_length: int | None = None


class Method:
    """A method on one backbone, before anything has a value.

    Args:
        section: the recipe's.
        family: the backbone's.
        config: the backbone's configuration.

    Attributes:
        ADAPTER: name of the method's own parameters in `PromptedModel`.
        TAGS: of a model card, as model hubs know the method.
        trains_through_backbone: whether gradients pass through the backbone, so that its
            activations are kept or computed anew.
        trains_nothing: whether a run makes no step, and scores the backbone as it is.

    Raises:
        UserError: the section and the backbone do not go together.
    """

    ADAPTER: ClassVar[str] = "adapter"
    TAGS: ClassVar[tuple[str, ...]] = ()
    trains_through_backbone: bool = True
    trains_nothing: bool = False

    def __init__(self, section: Any, family: Family, config: Config) -> None:
        self.section, self.family, self.config = section, family, config

    @property
    def front(self) -> int:
        """Tokens in front of each sequence, as keys and values or as input embeddings."""
        return 0

    def check_length(self, max_length: int) -> None:
        """Refuse texts for which there is no room beside the method.

        Raises:
            UserError: names both lengths and the room there is.
        """
        check_room(self.family, self.config, max_length)

    def adapter(self, backbone: nn.Module) -> Adapter | None:
        """The method's own parameters, called on the meta device; None: it has none."""
        return None

    def trains(self, name: str) -> bool:
        """Whether a parameter of the backbone, by its name there, is trained."""
        return False

    def first_values(self, seed: int) -> dict[str, Tensor]:
        """First values of the adapter's parameters by their name there, fp32, from the seed."""
        return {}

    def check_start(self, tokenizer: Any) -> None:
        """Refuse early what `start_values` could not use; reads no weights.

        Raises:
            UserError: see `start_values`.
        """

    def start_values(
        self,
        run: RunModel,
        adapter: Adapter | None,
        tokenizer: Any,
        seed: int,
        device: torch.device,
    ) -> dict[str, Tensor]:
        """First values that need the backbone or a file, by name in the adapter, whole.

        Args:
            run: calls the model; every rank does so alike.
            adapter: the model's.
            tokenizer: the backbone's.
            seed: the recipe's.
            device: where inputs go.

        Raises:
            UserError: they cannot be had.
        """
        return {}

    def guard(self, run: RunModel, model: Any, inputs: Inputs) -> None:
        """Prove on one batch that the method is in use.

        Args:
            run: calls the model; every rank does so with a batch of the same shape.
            model: the `PromptedModel`.
            inputs: a batch without targets.

        Raises:
            UserError: says which check failed.
        """

    def slots(self) -> frozenset[str]:
        """Kinds of attention that the method enters, which a forward pass must then run."""
        return frozenset()

    def mixer(self) -> Mix | None:
        """What lets rows of several models of this method share a forward pass; None: nothing."""
        return None

    def describe(self) -> list[str]:
        """Lines about the method for people: "prefix: 20 tokens in 12 attention modules"."""
        return []

    def facts(self) -> dict[str, Any]:
        """What a reader of an export must know beside the recipe, as JSON has it."""
        return {}

    @classmethod
    def to_export(cls, trained: Tensors) -> Tensors:
        """Tensors of an export, from all that is trained but the head, by name in the model."""
        return trained

    @classmethod
    def from_export(cls, tensors: Tensors) -> Tensors:
        """What is trained but the head, by name in the model, from the tensors of an export."""
        return tensors

    @classmethod
    def to_peft(cls, section: Any, facts: Mapping[str, Any], file: Path) -> PeftFiles | str:
        """The method's part of PEFT's folder, or why PEFT cannot express it.

        Args:
            section: the recipe's, as exported.
            facts: see `facts`.
            file: of the export's tensors.

        Raises:
            UserError: the export is damaged.
        """
        return "it has nothing to express but a head"


def embed(backbone: nn.Module, input_ids: Tensor) -> Tensor:
    """A backbone's own input embeddings [batch, n, width] of ids [batch, n]."""
    # Called as a module: under ZeRO-3 its weight may be empty outside of its call.
    embedded: Tensor = backbone.get_input_embeddings()(input_ids)  # type: ignore[operator]
    return embedded
