"""The head over the vocabulary, as far as some words need it: their rows and what stands before.

A backbone is loaded without that head. A task that reads words takes from the backbone's files the
rows of these words, a small frozen matrix, so that neither the whole projection nor the word
embeddings that it is tied to are gathered or stored a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.backbones.load import BackboneFiles, check_tensor, check_weights
from ptv2_scale.backbones.matching import shared_parameters
from ptv2_scale.backbones.tensor_files import Tensors
from ptv2_scale.backbones.weights import TensorFile
from ptv2_scale.runtime.errors import UserError


class StateTransform(nn.Module):
    """BERT's and RoBERTa's way from a hidden state to the projection: layer, activation, norm."""

    def __init__(self, width: int, activation: str, epsilon: float) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.activation = ACT2FN[activation]
        self.norm = nn.LayerNorm(width, eps=epsilon)

    def forward(self, states: Tensor) -> Tensor:
        """[..., width] -> the same shape."""
        made: Tensor = self.norm(self.activation(self.dense(states)))
        return made


def state_transform(family: Family, config: Config) -> nn.Module:
    """What a family does to a hidden state before it is projected; its scale is not in it.

    Raises:
        UserError: words cannot be read from this family; says why.
    """
    head = family.vocabulary
    if head.refusal is not None:
        raise UserError(f"{family.name} has no head over the vocabulary here: {head.refusal}.")
    if head.dense is None:
        return nn.Identity()
    return StateTransform(family.width(config), head.activation(config), head.epsilon(config))


class WordLogits(nn.Module):
    """Logits of some words, as the whole head over the vocabulary would make them.

    Nothing in it is trained.

    Args:
        family: the backbone's.
        config: its configuration.
        words: number of words.

    Raises:
        UserError: see `state_transform`.
    """

    def __init__(self, family: Family, config: Config, words: int) -> None:
        super().__init__()
        self.scale, self.cap = family.vocabulary.scale(config), family.vocabulary.cap(config)
        self.transform = state_transform(family, config)
        self.rows = nn.Linear(family.width(config), words, bias=bool(family.vocabulary.bias))
        self.requires_grad_(False)

    def forward(self, states: Tensor) -> Tensor:
        """Hidden states [..., width] -> [..., words]."""
        logits: Tensor = self.rows(self.transform(states.to(self.rows.weight.dtype)) * self.scale)
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap


class TensorRows:
    """Some rows of a tensor of any size, in an order of their own: a `TensorFile` of one tensor.

    Args:
        source: holds the tensor.
        name: of the tensor.
        rows: numbers of the rows.
    """

    def __init__(self, source: TensorFile, name: str, rows: Sequence[int]) -> None:
        self._source, self._name, self._rows = source, name, rows
        self._width = torch.Size(source.shape(name)[1:]).numel()

    def names(self) -> list[str]:
        """See `TensorFile`."""
        return [self._name]

    def shape(self, name: str) -> tuple[int, ...]:
        """See `TensorFile`."""
        return (len(self._rows), *self._source.shape(name)[1:])

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """See `TensorFile`."""
        pieces = []
        while start < stop:
            number, first = divmod(start, self._width)
            last = min(self._width, first + stop - start)
            place = self._rows[number] * self._width
            pieces.append(self._source.read(name, place + first, place + last))
            start += last - first
        return torch.cat(pieces) if pieces else self._source.read(name, 0, 0)


def word_tensors(files: BackboneFiles, backbone: Any, tokens: Sequence[int]) -> Tensors:
    """The tensors of `WordLogits` by their names there, from a backbone's files.

    Args:
        files: of the backbone.
        backbone: its model, with or without values.
        tokens: ids of the words, in their order.

    Raises:
        UserError: the files have no head over the vocabulary, or one of other sizes.
    """
    found = head_tensors(files, backbone)
    own = {name: (files.weights, found[name]) for name in found if name.startswith("transform.")}
    rows = {
        name: (TensorRows(files.weights, found[name], tokens), found[name])
        for name in found
        if name.startswith("rows.")
    }
    return Tensors({**own, **rows})


def head_tensors(files: BackboneFiles, backbone: Any) -> dict[str, str]:
    """Where the files have each tensor of the head: its name in `WordLogits` -> that in the files.

    Raises:
        UserError: see `word_tensors`.
    """
    family, config = files.family, files.config
    head, width, rows = family.vocabulary, family.width(config), int(config.vocab_size)
    wanted: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
        "rows.weight": ((*head.projection, *_tied_names(files, backbone)), (rows, width))
    }
    if head.bias:
        wanted["rows.bias"] = (head.bias, (rows,))
    for own, stem, shape in (("dense", head.dense, (width, width)), ("norm", head.norm, (width,))):
        if stem is not None:
            wanted[f"transform.{own}.weight"] = ((f"{stem}.weight",), shape)
            wanted[f"transform.{own}.bias"] = ((f"{stem}.bias",), (width,))
    present = set(files.weights.names())
    found = {own: name for own, (names, _) in wanted.items() if (name := _first(names, present))}
    _check_complete(files, {own: names for own, (names, _) in wanted.items() if own not in found})
    for own, name in found.items():
        check_tensor(files, name, wanted[own][1])
    return found


def own_projection(files: BackboneFiles) -> str | None:
    """The projection's tensor in the files; None: the word embeddings are it, or there is none."""
    return _first(files.family.vocabulary.projection, set(files.weights.names()))


def _first(names: Sequence[str], present: set[str]) -> str | None:
    return next((name for name in names if name in present), None)


def _tied_names(files: BackboneFiles, backbone: Any) -> Sequence[str]:
    """Names of the word embeddings in the files, where they are the projection, too."""
    if not files.family.vocabulary.tied(files.config):
        return ()
    sources, embedding = check_weights(files, backbone), backbone.get_input_embeddings().weight
    return next(
        sources[names[0]]
        for names, parameter in shared_parameters(backbone)
        if parameter is embedding
    )


def _check_complete(files: BackboneFiles, missing: dict[str, tuple[str, ...]]) -> None:
    if missing:
        names = "; ".join(" or ".join(names) for names in missing.values())
        raise UserError(
            f"{files.folder}: has no head over the vocabulary: of this {files.family.name}"
            f" {names} is missing. It is a bare backbone, which knows no words: use the folder of"
            " the model as it was pretrained, or another task.head."
        )
