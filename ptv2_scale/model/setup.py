"""A recipe with what it names, opened and checked; and its model, without values and with them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from ptv2_scale.backbones.attention_routes import choose_route, describe_route
from ptv2_scale.backbones.dtypes import DTYPES, suitable_dtype
from ptv2_scale.backbones.empty import empty_parameters
from ptv2_scale.backbones.filling import Fill
from ptv2_scale.backbones.fingerprint import fingerprint
from ptv2_scale.backbones.int8 import int8_layers
from ptv2_scale.backbones.load import (
    BackboneFiles,
    build_empty,
    check_weights,
    local_folder,
    open_backbone,
    weight_filler,
)
from ptv2_scale.backbones.presets import has_known_shape, open_shape
from ptv2_scale.backbones.tensor_files import Tensors
from ptv2_scale.backbones.tokenizers import all_tokens, load_tokenizer, spelled
from ptv2_scale.backbones.vocabulary import check_ids, unknown_tokens
from ptv2_scale.backbones.weights import TensorFile
from ptv2_scale.config import Backbone, RunConfig
from ptv2_scale.data.collate import Example, Padding
from ptv2_scale.data.rows import Row, place_of
from ptv2_scale.data.splits import Split
from ptv2_scale.distributed.accelerator import accelerator_here
from ptv2_scale.methods.base import Method
from ptv2_scale.methods.registry import build_method
from ptv2_scale.model.identity import identity_of
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.run_identity import RunIdentity
from ptv2_scale.tasks.base import BackboneReader, Task
from ptv2_scale.tasks.heads import AnyHead
from ptv2_scale.tasks.registry import build_task
from ptv2_scale.tasks.text import READ

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncodedSplit:
    """A split of a task's data.

    Attributes:
        rows: as they were read.
        examples: tokenised; each knows its row.
    """

    rows: list[Row]
    examples: list[Example]


@dataclass(frozen=True)
class Setup:
    """What a recipe names, opened and checked, before any weight is read.

    Attributes:
        config: the recipe, with what was found in the data written out, and no `auto` in its
            `backbone`.
        files: the backbone's files.
        tokenizer: the backbone's; None where only shapes are asked for.
        task: data, head and metric.
        method: what is trained beside the head.
    """

    config: RunConfig
    files: BackboneFiles
    tokenizer: Any
    task: Task
    method: Method

    @cached_property
    def fingerprint(self) -> str:
        """Of the backbone."""
        return fingerprint(self.files)

    @cached_property
    def identity(self) -> RunIdentity:
        """What else the numbers depend on, without rows."""
        return identity_of(self.files.folder, self.tokenizer)

    def split(self, split: Split) -> EncodedSplit:
        """One split, tokenised."""
        rows = self.task.rows(split)
        return EncodedSplit(rows, self.encode(rows))

    def encode(
        self, rows: Sequence[Mapping[str, object]], *, with_targets: bool = True
    ) -> list[Example]:
        """Rows, tokenised; see `Task.encode`."""
        style = self.files.family.text_style
        length = self.config.task.longest
        examples = self.task.encode(rows, self.tokenizer, style, length, with_targets)
        for example in examples:
            self._check_ids(example.inputs, place_of(rows[example.row], example.row + 1))
        return examples

    def inputs(self, rows: Sequence[Mapping[str, object]]) -> dict[str, Tensor]:
        """Rows as the model takes them, [examples, longest]: tokenised, padded, nothing else."""
        examples = self.encode(rows, with_targets=False)
        taken = self.files.family.inputs(self.files.config)
        batch = self.task.collate(examples, self.padding).inputs
        return {name: tensor for name, tensor in batch.items() if name in taken or name not in READ}

    def _check_ids(self, inputs: Mapping[str, Sequence[int]], where: str) -> None:
        tables = self.files.family.tables(self.files.config)
        check_ids(inputs, tables, where, partial(spelled, self.tokenizer))

    def check_tokens(self) -> None:
        """Compare the tokenizer with the backbone's embedding, before there is a text.

        Raises:
            UserError: the pad token, which every batch may need, has no row.
        """
        self._check_ids({"input_ids": [self.padding.token]}, "the tokenizer's pad token")
        rows = self.files.family.tables(self.files.config)["input_ids"]
        missing = unknown_tokens(all_tokens(self.tokenizer), rows)
        if missing is not None:
            logger.warning(missing)

    def describe(self) -> list[str]:
        """Lines for people about the backbone, where it does not run as it does by default."""
        family, config = self.files.family, self.files.config
        route = choose_route(self.config.backbone.attention, family, config)
        return describe_route(route, family, config)

    @property
    def padding(self) -> Padding:
        """How this backbone's batches are padded."""
        return Padding.of(self.tokenizer)


def open_setup(config: RunConfig) -> Setup:
    """Open what a recipe names.

    Raises:
        UserError: something is missing or does not go together.
    """
    backbone = config.backbone
    files = open_backbone(
        backbone.name,
        revision=backbone.revision,
        weights=backbone.weights,
        trust_remote_code=backbone.trust_remote_code,
    )
    setup = _checked(config, files)
    name, code = backbone.tokenizer, backbone.trust_remote_code
    folder = files.folder if name is None else local_folder(name, code=code)
    setup = replace(setup, tokenizer=load_tokenizer(folder, code))
    setup.check_tokens()
    return setup


def open_shapes(config: RunConfig) -> Setup:
    """The same for sizes alone: a known shape, without weights and tokenizer, will do.

    Raises:
        UserError: see `open_setup`.
    """
    if has_known_shape(config.backbone.name):
        return _checked(config, open_shape(config.backbone.name))
    return open_setup(config)


def _checked(config: RunConfig, files: BackboneFiles) -> Setup:
    method = build_method(config.prompt, files.family, files.config)
    _check_positions(method, config)
    task = build_task(config.task)
    if isinstance(task, BackboneReader):
        task = task.on(files)
    found = {"task": task.resolved(), "backbone": _chosen(config.backbone, files)}
    return Setup(config.model_copy(update=found), files, None, task, method)


def _chosen(section: Backbone, files: BackboneFiles) -> Backbone:
    """What `auto` is on this machine, where ranks have not agreed on it already."""
    route = choose_route(section.attention, files.family, files.config)
    dtype = suitable_dtype(accelerator_here()) if section.dtype == "auto" else section.dtype
    return section.model_copy(update={"attention": route, "dtype": dtype})


def _check_positions(method: Method, config: RunConfig) -> None:
    """Refuse texts, or answers behind them, for which the backbone has no positions."""
    method.check_length(config.task.longest)
    try:
        method.check_length(config.task.room)
    except UserError as error:
        raise UserError(
            "task.max_new_tokens: answers that are written to be scored stand behind the texts, and"
            f" both together are too long. {error}"
        ) from None


def build_head(setup: Setup) -> AnyHead:
    """The task's head with its first values, which depend on the seed alone.

    Raises:
        UserError: the backbone has no such head.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setup.config.train.seed)
        return setup.task.head(setup.files.family, setup.files.config)


def build_model(setup: Setup, backbone: Any = None) -> PromptedModel:
    """The prompted model on the meta device: shapes, no values.

    Args:
        setup: the recipe, opened.
        backbone: one that is there already and is to be shared; None builds it, without values.

    Raises:
        UserError: the backbone's files do not fit its configuration, it has no such head, or its
            weights are to be trained and kept in 8 bits.
    """
    section = setup.config.backbone
    dtype = DTYPES[section.dtype]
    if backbone is None:
        backbone = build_empty(
            setup.files, dtype, section.dropout, section.attention, section.quantization
        )
        if setup.files.weights.paths:  # a known shape has none
            check_weights(setup.files, backbone)
    elif bool(int8_layers(backbone)) != (section.quantization is not None):
        raise UserError(
            f"backbone: backbone.quantization is {json.dumps(section.quantization)} in the recipe,"
            " and this backbone was loaded otherwise: load_backbone(FOLDER,"
            f" quantization={section.quantization!r})."
        )
    head = build_head(setup)
    reason = head.refusal(backbone) or _idle_slots(setup, head)
    if reason is not None:
        raise UserError(f"{setup.files.folder}: {reason}.")
    with empty_parameters():
        model = PromptedModel(backbone, setup.files.family, head.to("meta"), setup.method)
    for trained in (model.adapter, model.head):
        if trained is not None:
            trained.to(dtype)
    _check_trained(model)
    _check_quantised(model)
    head_tensors(setup, model)
    return model


def _idle_slots(setup: Setup, head: AnyHead) -> str | None:
    """Why a method does not go with a head for which only the encoder runs, or None."""
    idle = setup.method.slots() - {"encoder"}
    if not (idle and head.of_tokens and setup.files.family.encoder_decoder):
        return None
    return (
        f"task.kind: {setup.config.task.kind} reads the encoder's states, so nothing runs the"
        f" slots {', '.join(sorted(idle))} of an encoder-decoder. Set prompt.slots: [encoder]"
    )


def _check_trained(model: PromptedModel) -> None:
    """Refuse a method and a head that do not go together: something is trained, or nothing is.

    Raises:
        UserError: names both.
    """
    method, head = model.method, model.head.KIND
    if method.trains_nothing and model.trained():
        raise UserError(
            f"prompt.method: {method.section.method} trains nothing, so the head '{head}' would"
            " keep its random first values. Set task.head: verbalizer."
        )
    if not method.trains_nothing and not model.trained():
        raise UserError(
            f"prompt.method: {method.section.method} trains the head alone, and the head '{head}'"
            " is the backbone's own. Set prompt.method: discrete to score it as it is."
        )


def _check_quantised(model: PromptedModel) -> None:
    """Refuse to train weights that are kept in 8 bits.

    Raises:
        UserError: names the method.
    """
    layers = int8_layers(model.backbone)
    if any(layer.weight.requires_grad for layer in layers.values()):
        raise UserError(
            f"backbone.quantization: int8 keeps weights in 8 bits that prompt.method:"
            f" {model.method.section.method} trains. Leave it out, or train what stands beside"
            " them: prompt.method: lora, prefix, prompt, ptuning or none."
        )


def head_tensors(setup: Setup, model: PromptedModel) -> Tensors:
    """What of the head stands in the backbone's files, by name in `PromptedModel`.

    Raises:
        UserError: the files do not have it.
    """
    if setup.tokenizer is None or not setup.files.weights.paths:  # shapes alone are asked for
        return Tensors({})
    found = model.head.from_files(setup.files, model.backbone, setup.tokenizer)
    return found.renamed({name: f"head.{name}" for name in found.names()})


def first_values(setup: Setup) -> dict[str, Tensor]:
    """First values of head and adapter, fp32, by name in `PromptedModel`.

    What of a head is the backbone's own is read from its files, as the backbone is.
    """
    head = build_head(setup).named_parameters()
    values = {f"head.{name}": one.detach() for name, one in head if one.requires_grad}
    adapter = setup.method.first_values(setup.config.train.seed)
    values.update({f"{setup.method.ADAPTER}.{name}": value for name, value in adapter.items()})
    return values


def model_filler(setup: Setup, model: PromptedModel, trained: TensorFile) -> Fill:
    """All that `trained` names from there; the rest of head and backbone from the files."""
    from_files = weight_filler(setup.files, model.backbone)
    head = head_tensors(setup, model)
    known: dict[str, TensorFile] = dict.fromkeys(head.names(), head)
    known.update(dict.fromkeys(trained.names(), trained))

    def fill(names: Sequence[str], start: int, target: Tensor) -> None:
        if names[0] in known:
            target.copy_(known[names[0]].read(names[0], start, start + target.numel()))
        else:
            from_files([names[0].removeprefix("backbone.")], start, target)

    return fill
