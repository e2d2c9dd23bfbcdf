"""Loading a frozen backbone: built without memory on the meta device, then filled slice by slice.

How parameters are spread over ranks is the caller's: a `Shards` allocates the flat ranges that this
rank holds, and takes each parameter over once they are filled. `Unsharded` holds everything whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from transformers import AutoModel

import ptv2_scale.backbones.attention  # noqa: F401 - registers the routes with transformers
from ptv2_scale.backbones.attention_routes import IMPLEMENTATIONS, Route, choose_route
from ptv2_scale.backbones.config_keys import check_keys
from ptv2_scale.backbones.detect import detect_config
from ptv2_scale.backbones.dtypes import DTYPES, suitable_dtype
from ptv2_scale.backbones.empty import empty_parameters
from ptv2_scale.backbones.families import family_of
from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.backbones.filling import Fill, Unfilled, fill_in_order
from ptv2_scale.backbones.int8 import Int8Linear, fill_packed, int8_layers, quantise_layers
from ptv2_scale.backbones.matching import check_matching, match, shared_parameters
from ptv2_scale.backbones.naming import PRESETS, named_folder
from ptv2_scale.backbones.quantised import quantised, refuse_quantised
from ptv2_scale.backbones.sizes import check_sizes
from ptv2_scale.backbones.weights import WeightFolder
from ptv2_scale.config import backbone_section
from ptv2_scale.hub import FETCH_FIRST, HubItem, UnreachableError, download
from ptv2_scale.runtime.errors import UserError, did_you_mean
from ptv2_scale.runtime.files import read_json

_STORED = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


class Shards(Protocol):
    """How one rank holds parameters."""

    @property
    def at_once(self) -> int:
        """Parameters that may be allocated and not yet adopted."""
        ...

    def allocate(self, parameter: nn.Parameter) -> tuple[nn.Parameter, list[tuple[int, Tensor]]]:
        """The parameter in place of one on the meta device, with memory but without values.

        Returns:
            The parameter, and what this rank must have filled of it: first element and flat memory
            of each range.
        """
        ...

    def ranges(self, numel: int) -> list[tuple[int, int]]:
        """These ranges of a parameter of `numel` elements, as (first element, one past the last)"""
        ...

    def adopt(self, parameter: nn.Parameter) -> None:
        """Take over a parameter whose ranges are filled."""
        ...


@dataclass(frozen=True)
class Unsharded:
    """Every parameter whole, on one device: no sharding."""

    device: torch.device = torch.device("cpu")
    at_once: int = 16

    def allocate(self, parameter: nn.Parameter) -> tuple[nn.Parameter, list[tuple[int, Tensor]]]:
        """All of it."""
        whole = torch.empty(parameter.shape, dtype=parameter.dtype, device=self.device)
        return nn.Parameter(whole, requires_grad=parameter.requires_grad), [(0, whole.view(-1))]

    def ranges(self, numel: int) -> list[tuple[int, int]]:
        """All of it."""
        return [(0, numel)]

    def adopt(self, parameter: nn.Parameter) -> None:
        """Nothing to do."""


class Weights(Protocol):
    """Tensors of a backbone by their names."""

    @property
    def paths(self) -> Sequence[Path]:
        """Files they are in."""
        ...

    def names(self) -> list[str]:
        """Names of all tensors."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""
        ...

    def dtype(self, name: str) -> torch.dtype:
        """Dtype of one tensor in its file."""
        ...

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """Elements start..stop (flat) of one tensor."""
        ...

    def read_into(self, name: str, start: int, target: Tensor) -> None:
        """Read elements from `start` on into `target` [n], of any dtype and on any device."""
        ...


@dataclass(frozen=True)
class BackboneFiles:
    """A backbone whose configuration has been understood, weights not yet read."""

    folder: Path
    config: Config
    family: Family
    weights: Weights
    trust_remote_code: bool = False


def open_backbone(
    name: str,
    *,
    revision: str | None = None,
    weights: Literal["any", "safetensors"] = "any",
    trust_remote_code: bool = False,
) -> BackboneFiles:
    """Find a backbone by folder or hub name, and detect its family.

    Raises:
        UserError: it cannot be found, read, or prompted; says why and what to do.
    """
    folder = local_folder(name, revision, trust_remote_code)
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no config.json, so this is not a backbone's folder.")

    @cache
    def opened() -> WeightFolder:
        return WeightFolder(folder, weights)

    path = folder / "config.json"
    config = detect_config(folder, lambda: opened().names(), trust_remote_code)
    content = read_json(path)
    _refuse_adapter(folder)
    refuse_quantised(folder, content)
    family = family_of(config, str(path))
    check_sizes(config, family, str(path))
    check_keys(content, config, family, str(path))
    return BackboneFiles(folder, config, family, opened(), trust_remote_code)


def _refuse_adapter(folder: Path) -> None:
    if (folder / "adapter_config.json").is_file():
        raise UserError(
            f"{folder / 'adapter_config.json'}: an adapter lies beside these weights. transformers"
            " would apply it, and nothing here does: merge it into the weights first (PEFT's"
            " merge_and_unload), or take it out of a copy of the folder."
        )


def local_folder(name: str, revision: str | None = None, code: bool = False) -> Path:
    """The folder of a backbone or tokenizer; a hub name is downloaded, or found in the cache.

    Args:
        name: folder or hub name.
        revision: of a hub name.
        code: whether its own Python code is wanted too.

    Raises:
        UserError: there is no such folder, or the hub does not give it.
    """
    folder = named_folder(name)
    if folder is not None and not os.path.isdir(folder):
        raise UserError(f"backbone.name: no folder '{name}'.")
    if folder is not None:
        return folder
    try:
        item = HubItem("model", name, revision, code=code)
        return download(item, lambda done, total: None).folder
    except UnreachableError as error:
        raise UserError(
            f"backbone.name: '{name}' is no folder, and not in the cache of the hub. {error}"
            f"{did_you_mean(name, PRESETS)} {FETCH_FIRST}, or give the path of a folder."
        ) from None
    except UserError as error:
        raise UserError(f"backbone.name: {error}{did_you_mean(name, PRESETS)}") from None


def build_empty(
    files: BackboneFiles,
    dtype: torch.dtype,
    dropout: float | None = None,
    attention: Literal["auto"] | Route = "auto",
    quantization: Literal["int8"] | None = None,
) -> Any:
    """The backbone's module without memory for its weights (buffers are real), frozen.

    Args:
        files: from `open_backbone`.
        dtype: dtype of the weights.
        dropout: overrides the dropout probabilities of the configuration.
        attention: the route that attention takes.
        quantization: "int8" keeps the weights of linear layers in 8 bits; see `quantise_layers`.

    Raises:
        UserError: no model can be built from the configuration, the route does not serve it, or it
            cannot be quantised.
    """
    config = files.config
    route = choose_route(attention, files.family, config)
    for key in files.family.dropout_keys if dropout is not None else ():
        setattr(config, key, dropout)
    if hasattr(config, "layerdrop"):
        # Ranks would skip different layers and wait for each other for ever.
        config.layerdrop = 0.0
    if hasattr(config, "use_cache"):
        config.use_cache = False
    options: dict[str, Any] = {}
    if files.family.pooler:
        names = files.weights.names()
        options["add_pooling_layer"] = any(name.endswith("pooler.dense.weight") for name in names)
    # Not torch.device("meta"): rotary tables are buffers, and nobody would fill them in again.
    try:
        with empty_parameters():
            model = AutoModel.from_config(
                config,
                attn_implementation=IMPLEMENTATIONS[route],
                dtype=dtype,
                trust_remote_code=files.trust_remote_code,
                **options,
            )
        model.tie_weights()
        files.family.prepare(model)
    except Exception as error:
        # What a configuration that makes no sense leads to has no common class.
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{files.folder / 'config.json'}: no model can be built from it: {reason}."
        ) from None
    model.requires_grad_(False)
    if quantization is not None:
        quantise_layers(model, str(files.folder))
    return model


def materialise(
    module: nn.Module,
    fill: Fill,
    shards: Shards,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Give every parameter of a module on the meta device its memory and its values.

    Each range that this rank holds is filled where it stays, so memory is that of the shards; some
    parameters are filled at once, by several threads.

    Args:
        module: its parameters are replaced in place, ties kept.
        fill: (names, start, target) -> None, copies elements from `start` on into `target` [n];
            called by several threads.
        shards: how this rank holds parameters.
        on_progress: called with bytes filled and bytes to be filled on this rank.
    """
    # A backbone that is shared and loaded already is left alone.
    empty = [(names, one) for names, one in shared_parameters(module) if one.is_meta]
    total = sum(_bytes_held(one, shards) for _, one in empty)
    done = 0
    for one in fill_in_order(_allocated(empty, shards), fill, shards.at_once):
        shards.adopt(one.parameter)
        for name in one.names:
            owner, _, leaf = name.rpartition(".")
            setattr(module.get_submodule(owner), leaf, one.parameter)
        done += one.nbytes
        on_progress(done, total)


def _bytes_held(parameter: nn.Parameter, shards: Shards) -> int:
    held = sum(stop - start for start, stop in shards.ranges(parameter.numel()))
    return held * parameter.itemsize


def _allocated(
    empty: Iterable[tuple[Sequence[str], nn.Parameter]], shards: Shards
) -> Iterator[Unfilled]:
    for names, parameter in empty:
        yield Unfilled(names, *shards.allocate(parameter))


def check_weights(files: BackboneFiles, model: Any) -> Mapping[str, Sequence[str]]:
    """Prove, before values are read, that a backbone's files hold what its model needs, no more.

    Returns:
        Each parameter's name -> the tensors in the files that hold its values.

    Raises:
        UserError: tensors are missing, of another shape or number format, or without a place in
            the model.
    """
    names = files.weights.names()
    found = match(model, files.family, names)
    check_matching(str(files.folder), files.family, found, len(names))
    packed = int8_layers(model)
    for own, parameter in shared_parameters(model):
        layer = packed.get(own[0])
        shape = tuple(parameter.shape) if layer is None else layer.stored_shape
        for name in found.sources[own[0]]:
            check_tensor(files, name, shape)
    return found.sources


def weight_filler(files: BackboneFiles, model: Any) -> Fill:
    """A `Fill` that reads a backbone's weights from its files.

    Raises:
        UserError: see `check_weights`.
    """
    sources, packed = check_weights(files, model), int8_layers(model)

    def fill(names: Sequence[str], start: int, target: Tensor) -> None:
        first, *others = sources[names[0]]
        stored, layer = (start, start + target.numel()), packed.get(names[0])
        if layer is None:
            files.weights.read_into(first, start, target)
        else:
            stored = layer.stored_range(*stored)
            _fill_packed(files, first, layer, start, target)
        for other in others:
            _check_equal(files, (first, other), *stored)

    return fill


def _fill_packed(
    files: BackboneFiles, name: str, layer: Int8Linear, start: int, target: Tensor
) -> None:
    try:
        fill_packed(layer, partial(files.weights.read, name), start, target)
    except ValueError as error:
        raise UserError(
            f"{files.folder}: {name} {error}, so backbone.quantization: int8 has no scale for them."
        ) from None


def check_tensor(files: BackboneFiles, name: str, expected: tuple[int, ...]) -> None:
    """Refuse a tensor of the files whose numbers or shape are not those that a model needs.

    Raises:
        UserError: names the tensor, and both shapes.
    """
    dtype = files.weights.dtype(name)
    if dtype not in _STORED:
        raise quantised(str(files.folder), f"{name} is of {dtype}")
    found = files.weights.shape(name)
    if found != expected:
        raise UserError(
            f"{files.folder}: {name} has shape {list(found)}, but config.json asks for"
            f" {list(expected)}. The configuration and the weights are not of the same model."
        )


def _check_equal(files: BackboneFiles, pair: tuple[str, str], start: int, stop: int) -> None:
    """What the model holds once may be stored under several names, but only with one value."""
    first, other = pair
    values, others = (files.weights.read(name, start, stop) for name in pair)
    if not torch.equal(values, others):
        raise UserError(
            f"{files.folder}: {first} and {other} are one parameter of this {files.family.name},"
            " and have different values in the files, so one of the two would be left out."
        )


def load_backbone(
    name: str | Path,
    *,
    dtype: Literal["auto", "bf16", "fp32"] = "fp32",
    device: str | torch.device = "cpu",
    dropout: float | None = None,
    attention: Literal["auto", "sdpa", "causal", "flex"] = "auto",
    quantization: Literal["int8"] | None = None,
    revision: str | None = None,
    weights: Literal["any", "safetensors"] = "any",
    trust_remote_code: bool = False,
) -> Any:
    """Load a frozen backbone whole, on one device, ready to be prompted.

    Args:
        name: folder or hub name.
        dtype: "bf16", "fp32", or "auto": bf16 where the device has units for it.
        device: where the weights go.
        dropout: overrides the configuration's dropout probabilities (they act in `train()` only).
        attention: how keys behind a prefix are attended to, as `backbone.attention` of a recipe.
        quantization: "int8" keeps the weights of linear layers in 8 bits; None: in `dtype`.
        revision: of a hub name.
        weights: "safetensors" refuses pickled files.
        trust_remote_code: allow the folder's own Python code.

    Returns:
        A transformers model without a task head, in `eval()` mode, no parameter requiring a
        gradient; its attention takes a prefix that `ptv2_scale.backbones.attention.bind` binds.

    Raises:
        UserError: an argument is none that a recipe could have, or the backbone cannot be found,
            read, or prompted.
    """
    section = backbone_section(
        {
            "name": str(name) if isinstance(name, Path) else name,
            "dtype": dtype,
            "dropout": dropout,
            "attention": attention,
            "quantization": quantization,
            "revision": revision,
            "weights": weights,
            "trust_remote_code": trust_remote_code,
        }
    )
    place = usable_device(device)
    files = open_backbone(
        section.name,
        revision=section.revision,
        weights=section.weights,
        trust_remote_code=section.trust_remote_code,
    )
    dtype = suitable_dtype(place) if section.dtype == "auto" else section.dtype
    model = build_empty(
        files, DTYPES[dtype], section.dropout, section.attention, section.quantization
    )
    materialise(model, weight_filler(files, model), Unsharded(place))
    return model.to(place).eval()


def usable_device(device: str | torch.device) -> torch.device:
    """A device that tensors can be put on.

    Raises:
        UserError: this machine, or this build of PyTorch, has no such device.
    """
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (AssertionError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise UserError(f"device: {device!r:.60} cannot be used here: {reason}.") from None
    if place.type == "meta":
        raise UserError("device: 'meta' keeps no values; expected cpu, cuda or cuda:0.")
    return place
