"""A recipe with what it names, opened and checked; and its model, without values and with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor

from ptv2_scale.backbones.fingerprint import fingerprint
from ptv2_scale.backbones.load import (
    DTYPES,
    BackboneFiles,
    Fill,
    build_empty,
    local_folder,
    open_backbone,
    weight_filler,
)
from ptv2_scale.backbones.presets import is_preset, open_preset
from ptv2_scale.backbones.tokenizers import load_tokenizer
from ptv2_scale.config import Prefix, RunConfig
from ptv2_scale.data.collate import Example, Padding
from ptv2_scale.data.splits import Split
from ptv2_scale.methods.prefix.encoder import PrefixShape, check_room, initial_values, prefix_shape
from ptv2_scale.model.prompted import PromptedModel, PromptSettings
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Task
from ptv2_scale.tasks.heads import Head, HeadKind
from ptv2_scale.tasks.registry import build_task


@dataclass(frozen=True)
class Setup:
    """What a recipe names, opened and checked, before any weight is read.

    Attributes:
        config: the recipe.
        files: the backbone's files.
        tokenizer: the backbone's; None where only shapes are asked for.
        task: data, head and metric.
        shape: the prefix's sizes; None: the head alone is trained.
    """

    config: RunConfig
    files: BackboneFiles
    tokenizer: Any
    task: Task
    shape: PrefixShape | None

    @cached_property
    def fingerprint(self) -> str:
        """Of the backbone."""
        return fingerprint(self.files)

    def examples(self, split: Split) -> list[Example]:
        """One split, tokenised."""
        return self.task.encode(
            self.task.rows(split),
            self.tokenizer,
            self.files.family.text_style,
            self.config.task.max_length,
        )

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
    return replace(setup, tokenizer=load_tokenizer(folder, code))


def open_shapes(config: RunConfig) -> Setup:
    """The same for sizes alone: a preset, which has no weights and no tokenizer, will do.

    Raises:
        UserError: see `open_setup`.
    """
    if is_preset(config.backbone.name):
        return _checked(config, open_preset(config.backbone.name))
    return open_setup(config)


def _checked(config: RunConfig, files: BackboneFiles) -> Setup:
    prompt = config.prompt
    check_room(prompt, files.family, files.config, config.task.max_length)
    shape = prefix_shape(prompt, files.family, files.config) if isinstance(prompt, Prefix) else None
    return Setup(config, files, None, build_task(config.task), shape)


def head_kind(setup: Setup) -> HeadKind:
    """Which head the task is to build: "linear", "bert", "roberta" or "score".

    Raises:
        UserError: the backbone has no such head.
    """
    family = setup.files.family
    wanted = setup.config.task.head or family.default_head
    if wanted == "linear":
        return "linear"
    if family.hf_head is None:
        raise UserError(f"task.head: {family.name} has no head 'hf' here. Use linear.")
    return family.hf_head


def build_head(setup: Setup) -> Head:
    """The task's head with its first values, which depend on the seed alone."""
    family, config = setup.files.family, setup.files.config
    kind = head_kind(setup)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setup.config.train.seed)
        return setup.task.head(kind, family.width(config), head_dropout(config, kind), family.pool)


def head_dropout(config: Any, kind: str) -> float:
    """Dropout of transformers' own head on this backbone; a linear head has none."""
    if kind not in ("bert", "roberta"):
        return 0.0
    own = getattr(config, "classifier_dropout", None)
    found = config.hidden_dropout_prob if own is None else own
    if not isinstance(found, (int, float)) or not 0 <= found <= 1:
        raise UserError(f"config.json: classifier_dropout is {found!r:.40}; expected 0 to 1.")
    return float(found)


def build_model(setup: Setup, backbone: Any = None) -> PromptedModel:
    """The prompted model on the meta device: shapes, no values.

    Args:
        setup: the recipe, opened.
        backbone: one that is there already and is to be shared; None builds it, without values.
    """
    config = setup.config
    dtype = DTYPES[config.backbone.dtype]
    if backbone is None:
        backbone = build_empty(setup.files, dtype, config.backbone.dropout)
    if head_kind(setup) == "bert" and getattr(backbone, "pooler", None) is None:
        raise UserError(
            f"{setup.files.folder}: has no pooler, which task.head: hf reads. Use head: linear."
        )
    prompt = config.prompt
    settings = PromptSettings()
    if isinstance(prompt, Prefix):
        settings = PromptSettings(prompt.dropout, prompt.positions == "shift")
    head = build_head(setup)
    with init_empty_weights(include_buffers=False):
        model = PromptedModel(backbone, setup.files.family, head.to("meta"), setup.shape, settings)
    for trained in (model.prefix_encoder, model.head):
        if trained is not None:
            trained.to(dtype)
    return model


def first_values(setup: Setup) -> dict[str, Tensor]:
    """First values of all that is trained, fp32, by name in `PromptedModel`."""
    values = {f"head.{name}": value for name, value in build_head(setup).state_dict().items()}
    prompt = setup.config.prompt
    if isinstance(prompt, Prefix) and setup.shape is not None:
        encoder = initial_values(prompt, setup.shape, setup.config.train.seed)
        values.update({f"prefix_encoder.{name}": value for name, value in encoder.items()})
    return values


def model_filler(setup: Setup, model: PromptedModel, trained: dict[str, Tensor]) -> Fill:
    """Backbone from its files, the rest from `trained`."""
    from_files = weight_filler(setup.files, model.backbone)

    def fill(names: Sequence[str], start: int, target: Tensor) -> None:
        room, _, own_name = names[0].partition(".")
        if room == "backbone":
            from_files([own_name], start, target)
        else:
            target.copy_(trained[names[0]].reshape(-1)[start : start + target.numel()])

    return fill
