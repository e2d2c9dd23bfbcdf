"""Heads that map the backbone's last hidden state to a task's outputs: logits [batch, labels].

Three of them compute what transformers' ForSequenceClassification models compute, under parameter
names that an export can map to theirs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.backbones.load import BackboneFiles
from ptv2_scale.backbones.tensor_files import Tensors
from ptv2_scale.runtime.errors import UserError

HeadKind = Literal["linear", "bert", "roberta", "score"]
Pool = Literal["first", "last"]

INITIAL_STD = 0.02  # transformers' default for new heads


class AnyHead(nn.Module, ABC):
    """What a model has behind its backbone: a head, or one for each of several tasks.

    Attributes:
        KIND: name of the head in an export.
        of_tokens: whether it reads the states of all tokens; of an encoder-decoder then those of
            the encoder, and the decoder does not run.
    """

    KIND: ClassVar[str]
    of_tokens: bool = False

    @abstractmethod
    def of(self, part: str | None) -> Head:
        """The head of one task, where a model has several; else the only one.

        Raises:
            UserError: no task is called so.
        """

    @abstractmethod
    def parts(self) -> dict[str, Head]:
        """The heads of several tasks, by name; of one task none."""

    def refusal(self, backbone: nn.Module) -> str | None:
        """Why the backbone cannot be read, or None."""
        return None

    def attach(self, backbone: Any) -> None:
        """See to it that the head can use what of the backbone it needs beside hidden states."""
        return

    def from_files(self, files: BackboneFiles, backbone: Any, tokenizer: Any) -> Tensors:
        """What of the head is the backbone's own: tensors of its files by their name in the head.

        Args:
            files: of the backbone.
            backbone: its model, with or without values.
            tokenizer: the backbone's.

        Raises:
            UserError: the files do not have it.
        """
        return Tensors({})


class Head(AnyHead):
    """What the head of a task offers; reading the features and using them are separate on purpose.

    A head trained alone on a frozen backbone needs the features of each example only once.
    """

    @abstractmethod
    def features(self, hidden: Tensor, pooled: Tensor | None, attention_mask: Tensor) -> Tensor:
        """What the head reads of the backbone, without anything trained or random.

        Args:
            hidden: last hidden state [batch, tokens, width].
            pooled: the backbone's own pooled output [batch, width], if it has one.
            attention_mask: [batch, tokens], 1 for text; padding may be on either side.

        Returns:
            [batch, width].
        """

    @abstractmethod
    def forward_features(self, features: Tensor) -> Tensor:
        """Logits [batch, labels] of features [batch, width]."""

    def split(self, features: Tensor, attention_mask: Tensor) -> list[Tensor]:
        """The features of each example by itself, on the CPU, in float32."""
        return list(features.float().cpu().unbind())

    def join(self, features: Sequence[Tensor]) -> Tensor:
        """The features of a batch, from those of its examples."""
        return torch.stack(list(features))

    def answer(
        self,
        hidden: Tensor,
        pooled: Tensor | None,
        attention_mask: Tensor,
        inputs: Mapping[str, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Outputs and features of a batch.

        Args:
            hidden: see `features`.
            pooled: see `features`.
            attention_mask: see `features`.
            inputs: all that the batch has, for heads that read more than hidden states.
        """
        features = self.features(hidden, pooled, attention_mask)
        return self.forward_features(features), features

    def of(self, part: str | None) -> Head:
        """See `AnyHead`."""
        return self

    def parts(self) -> dict[str, Head]:
        """See `AnyHead`."""
        return {}

    def forward(self, hidden: Tensor, pooled: Tensor | None, attention_mask: Tensor) -> Tensor:
        """Logits [batch, labels]; arguments as those of `features`."""
        return self.forward_features(self.features(hidden, pooled, attention_mask))


class LinearHead(Head):
    """One linear layer on the state of the first token ([CLS], T5's decoder start) or the last."""

    KIND = "linear"

    def __init__(self, width: int, labels: int, pool: Pool) -> None:
        """Layers for states of `width`; `pool` says which token is read."""
        super().__init__()
        self.pool = pool
        self.out_proj = _linear(width, labels)

    def features(self, hidden: Tensor, pooled: Tensor | None, attention_mask: Tensor) -> Tensor:
        """State of one token; see `Head`."""
        read = first_token if self.pool == "first" else last_token
        return read(hidden, attention_mask)

    def forward_features(self, features: Tensor) -> Tensor:
        """See `Head`."""
        return _apply(self.out_proj, features)


class BertHead(Head):
    """BertForSequenceClassification: dropout and a linear layer on the backbone's pooler."""

    KIND = "bert"

    def __init__(self, width: int, labels: int, dropout: float) -> None:
        """Layers for states of `width`; `dropout` is a probability."""
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.classifier = _linear(width, labels)

    def features(self, hidden: Tensor, pooled: Tensor | None, attention_mask: Tensor) -> Tensor:
        """The pooler's output; see `Head`."""
        if pooled is None:
            raise UserError(
                "task.head: hf reads the pooler of BERT, and this backbone's weights have none; "
                "use task.head=linear"
            )
        return pooled

    def refusal(self, backbone: nn.Module) -> str | None:
        """See `Head`."""
        if getattr(backbone, "pooler", None) is None:
            return "has no pooler, which task.head: hf reads. Use head: linear"
        return None

    def forward_features(self, features: Tensor) -> Tensor:
        """See `Head`."""
        return _apply(self.classifier, self.dropout(features))


class RobertaHead(Head):
    """RobertaForSequenceClassification's head on <s>."""

    KIND = "roberta"

    def __init__(self, width: int, labels: int, dropout: float) -> None:
        """Layers for states of `width`; `dropout` is a probability."""
        super().__init__()
        self.dense = _linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.out_proj = _linear(width, labels)

    def features(self, hidden: Tensor, pooled: Tensor | None, attention_mask: Tensor) -> Tensor:
        """State of the first column; see `Head`."""
        # Of padding, too, where that is on the left: transformers' own head does the same.
        return hidden[:, 0]

    def forward_features(self, features: Tensor) -> Tensor:
        """See `Head`."""
        dense = torch.tanh(_apply(self.dense, self.dropout(features)))
        return _apply(self.out_proj, self.dropout(dense))


class ScoreHead(Head):
    """The causal models' ForSequenceClassification: one layer without bias on the last token."""

    KIND = "score"

    def __init__(self, width: int, labels: int) -> None:
        """Layers for states of `width`."""
        super().__init__()
        self.score = _linear(width, labels, bias=False)

    def features(self, hidden: Tensor, pooled: Tensor | None, attention_mask: Tensor) -> Tensor:
        """State of the last token; see `Head`."""
        return last_token(hidden, attention_mask)

    def forward_features(self, features: Tensor) -> Tensor:
        """See `Head`."""
        return _apply(self.score, features)


class SeveralHeads(AnyHead):
    """A head for each task of a model that has several."""

    KIND = "several"

    def __init__(self, heads: Mapping[str, Head]) -> None:
        """The heads by the names of their tasks."""
        super().__init__()
        for name, head in heads.items():
            self.add_module(name, head)
        self.of_tokens = any(head.of_tokens for head in heads.values())

    def of(self, part: str | None) -> Head:
        """See `AnyHead`."""
        heads = self.parts()
        if part not in heads:
            raise UserError(
                f"part: found {part!r:.60}, expected one of the tasks {', '.join(heads)}."
            )
        return heads[part]

    def parts(self) -> dict[str, Head]:
        """See `AnyHead`."""
        return {name: head for name, head in self.named_children() if isinstance(head, Head)}

    def refusal(self, backbone: nn.Module) -> str | None:
        """See `AnyHead`: the first of its heads' reasons."""
        reasons = (head.refusal(backbone) for head in self.parts().values())
        return next((reason for reason in reasons if reason), None)

    def attach(self, backbone: Any) -> None:
        """See `AnyHead`."""
        for head in self.parts().values():
            head.attach(backbone)

    def from_files(self, files: BackboneFiles, backbone: Any, tokenizer: Any) -> Tensors:
        """See `AnyHead`: what any of its heads has of the files."""
        found = Tensors({})
        for name, head in self.parts().items():
            own = head.from_files(files, backbone, tokenizer)
            found = found.beside(own.renamed({one: f"{name}.{one}" for one in own.names()}))
        return found


def first_token(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """States [batch, width] of the first tokens that are not padding, on either side."""
    # Of equal values argmax gives the first; it takes no bool.
    return _states_at(attention_mask.long().argmax(dim=1), hidden)


def last_token(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """States [batch, width] of the last tokens that are not padding, on either side."""
    places = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    return _states_at((places * attention_mask.to(places.dtype)).argmax(dim=1), hidden)


def _states_at(places: Tensor, hidden: Tensor) -> Tensor:
    return hidden[torch.arange(len(hidden), device=hidden.device), places.to(hidden.device)]


def build_head(kind: HeadKind, width: int, labels: int, dropout: float, pool: Pool) -> Head:
    """A new head; `dropout` counts for bert and roberta, `pool` for linear."""
    if kind == "bert":
        return BertHead(width, labels, dropout)
    if kind == "roberta":
        return RobertaHead(width, labels, dropout)
    if kind == "score":
        return ScoreHead(width, labels)
    return LinearHead(width, labels, pool)


def head_kind(wanted: str | None, family: Family) -> HeadKind:
    """Which head to build: "linear", "bert", "roberta" or "score".

    Args:
        wanted: "linear" or "hf" (transformers' own); None: the family's default.
        family: the backbone's.

    Raises:
        UserError: the backbone has no such head.
    """
    if (wanted or family.default_head) == "linear":
        return "linear"
    if family.hf_head is None:
        raise UserError(f"task.head: {family.name} has no head 'hf' here. Use linear.")
    return family.hf_head


def head_dropout(config: Config, kind: HeadKind) -> float:
    """Dropout of transformers' own head on this backbone; a linear head has none."""
    if kind not in ("bert", "roberta"):
        return 0.0
    own = getattr(config, "classifier_dropout", None)
    found = config.hidden_dropout_prob if own is None else own
    if not isinstance(found, (int, float)) or not 0 <= found <= 1:
        raise UserError(f"config.json: classifier_dropout is {found!r:.40}; expected 0 to 1.")
    return float(found)


def _linear(width: int, out: int, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(width, out, bias=bias)
    nn.init.normal_(layer.weight, std=INITIAL_STD)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def _apply(layer: nn.Linear, features: Tensor) -> Tensor:
    # A head in fp32 may sit on a backbone in bf16.
    logits: Tensor = layer(features.to(layer.weight.dtype))
    return logits
