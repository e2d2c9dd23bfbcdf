"""`PromptedModel`: a frozen backbone, a method and a task head as one plain `nn.Module`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ptv2_scale.backbones.attention import train_position_bias
from ptv2_scale.backbones.binding import bind_right_padded
from ptv2_scale.backbones.family import Family
from ptv2_scale.backbones.glm_classic.masks import piece_inputs
from ptv2_scale.backbones.sampling import Sampling
from ptv2_scale.methods.base import Adapter, Entry, Method, Wrapped
from ptv2_scale.model.decoding import Beams, Decoding, Request, Written
from ptv2_scale.model.generation import write
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.heads import AnyHead
from ptv2_scale.tasks.language_head import LanguageHead


class PromptedOutput(NamedTuple):
    """What a forward pass gives.

    Attributes:
        outputs: what the head makes, [batch, labels] for classification.
        features: what the head read of the backbone, [batch, width] for classification.
    """

    outputs: Tensor
    features: Tensor

    @property
    def logits(self) -> Tensor:
        """The outputs, by the name that transformers' models have for them."""
        return self.outputs


class PromptedModel(nn.Module):
    """Runs with and without DeepSpeed; several may share one backbone object.

    Args:
        backbone: a transformers model without a task head, from `load_backbone`.
        family: its family.
        head: maps the last hidden state to outputs; see `ptv2_scale.tasks.heads`.
        method: what is trained beside the head.

    Attributes:
        labels: names of the head's outputs, in the order of their numbers, where the model was
            loaded with its task; () where they have none.
    """

    labels: tuple[str, ...] = ()

    def __init__(self, backbone: Any, family: Family, head: AnyHead, method: Method) -> None:
        super().__init__()
        self.backbone = backbone
        self.family, self.method = family, method
        adapter = method.adapter(backbone)
        if adapter is not None:
            self.add_module(method.ADAPTER, adapter)
        self.head = head
        head.attach(backbone)
        trained = {n: p for n, p in backbone.named_parameters() if method.trains(n)}
        for parameter in trained.values():
            parameter.requires_grad_(True)
        if any("relative_attention_bias" in name for name in trained):
            train_position_bias(backbone)

    @property
    def adapter(self) -> Adapter | None:
        """The method's own parameters; None: it has none."""
        found: Adapter | None = self._modules.get(self.method.ADAPTER)  # type: ignore[assignment]
        return found

    def trained(self) -> dict[str, nn.Parameter]:
        """Parameters that require a gradient, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def entry(self) -> Entry:
        """What the method puts into one forward pass."""
        return Entry() if self.adapter is None else self.adapter.entry()

    def forward(
        self,
        entry: Entry | Literal["own"] | None = "own",
        part: str | None = None,
        writing: Request | None = None,
        right_padded: bool = False,
        **inputs: Tensor,
    ) -> PromptedOutput | list[Written]:
        """Run a batch.

        Args:
            entry: this model's own, another one for the same backbone, or None for the backbone
                without the method.
            part: the task whose head answers, where the model has several.
            writing: to answer the batch by texts instead; see `write`.
            right_padded: whether texts are known to be padded on the right alone, if at all. What
                is then read of padding may be anything.
            **inputs: input_ids and attention_mask [batch, n] (none: no padding), and what else the
                family takes; the rest of what a tokenizer gives is dropped.

        Raises:
            UserError: there are no input_ids.
        """
        if entry is None:
            entry = Entry()
        elif isinstance(entry, str):
            entry = self.entry()
        if writing is not None:
            return self.write(writing, inputs, entry)
        outputs, front = self.run_backbone(entry, inputs, part, right_padded)
        if entry.headless:
            return PromptedOutput(outputs.last_hidden_state, outputs.last_hidden_state)
        return self.read(outputs, inputs, front, part)

    def run_backbone(
        self,
        entry: Entry,
        inputs: Mapping[str, Tensor],
        part: str | None = None,
        right_padded: bool = False,
    ) -> tuple[Any, int]:
        """The backbone's outputs for a batch, and the columns in front of the text; see `forward`.

        Raises:
            UserError: there are no input_ids.
        """
        wrapped = self.backbone_inputs(entry, inputs, part)
        reader = self.backbone if self._decodes(entry, part) else self.backbone.get_encoder()
        with entry.bind(), bind_right_padded(right_padded):
            return reader(**wrapped.inputs), wrapped.front

    def generate(
        self,
        end: int | None,
        max_new_tokens: int = 64,
        strategy: Sampling | Beams | None = None,
        **inputs: Tensor,
    ) -> list[list[int]]:
        """The tokens of answers to a batch of texts, written one after the other, with a cache.

        Args:
            end: the token that ends an answer, which is left out; None: there is none.
            max_new_tokens: of an answer.
            strategy: None: the likeliest token each time.
            **inputs: as of `forward`; the padding may be on either side.

        Raises:
            UserError: see `write`.
        """
        request = Request(end, Decoding(max_new_tokens, strategy))
        return [answer.tokens for answer in self.write(request, inputs)]

    def write(
        self, request: Request, inputs: Mapping[str, Tensor], entry: Entry | None = None
    ) -> list[Written]:
        """Answers to a batch of texts.

        Args:
            request: what is asked for.
            inputs: as of `forward`; the padding may be on either side.
            entry: this model's own where there is none, or another one for the same backbone.

        Raises:
            UserError: the head answers instead of a vocabulary: `task.kind` is not text; or
                a classic GLM is given no position_ids.
        """
        if not isinstance(self.head, LanguageHead):
            raise UserError(
                "generate: this model answers by its task head, from one forward pass: call it, or"
                " use Predictor. Text is generated where task.kind is text."
            )
        if self.family.positions == "blocks" and "position_ids" not in inputs:
            raise UserError(
                f"generate: {self.family.name} needs the position_ids of a text with its mask and"
                " <|startofpiece|>, as load_row_encoder gives them. Text with blanks is filled by"
                " ptv2_scale.backbones.glm_classic.generation.fill_blank."
            )
        return write(self, entry or self.entry(), inputs, request)

    def _decodes(self, entry: Entry, part: str | None) -> bool:
        """Whether the whole backbone runs, and not its encoder alone."""
        if not self.family.encoder_decoder or entry.headless:
            return True
        return not self.head.of(part).of_tokens

    def read(
        self, outputs: Any, inputs: Mapping[str, Tensor], front: int = 0, part: str | None = None
    ) -> PromptedOutput:
        """What the head makes of a backbone's outputs.

        Args:
            outputs: the backbone's. A pooler of its own has read the first column, whatever it is.
            inputs: of the batch, as they were given.
            front: columns in front of the text.
            part: the task whose head reads them, where there are several.
        """
        hidden = outputs.last_hidden_state
        mask = inputs.get("attention_mask")
        if mask is None:
            mask = torch.ones_like(inputs["input_ids"])
        if self.family.encoder_decoder and not self.head.of(part).of_tokens:
            # A decoder's states, in front of which there is nothing.
            mask, front = torch.ones_like(hidden[..., 0], dtype=mask.dtype), 0
        pooled = getattr(outputs, "pooler_output", None)
        return PromptedOutput(*self.head.of(part).answer(hidden[:, front:], pooled, mask, inputs))

    def backbone_inputs(
        self, entry: Entry, inputs: Mapping[str, Tensor], part: str | None = None
    ) -> Wrapped:
        """A batch with what entry and family add: positions, the decoder's start, options."""
        config = self.backbone.config
        taken = self.family.inputs(config)
        given = {name: value for name, value in inputs.items() if name in taken}
        if "input_ids" not in given:
            raise UserError(f"input_ids: missing, found {', '.join(inputs) or 'nothing'}.")
        given.setdefault("attention_mask", torch.ones_like(given["input_ids"]))
        made, front = entry.wrap({**given, **self.family.forward_options}, self.backbone)
        mask = made["attention_mask"]
        places = made.pop("position_ids", None)
        positions = self.family.position_ids(mask, entry.shift, config)
        if places is not None:
            made |= piece_inputs(places, mask)
        elif positions is not None:
            made["position_ids"] = positions
        if self.family.token_types:
            # The model would look its default types up at the shifted positions.
            made.setdefault("token_type_ids", torch.zeros_like(mask))
        if not self._decodes(entry, part):
            made = {name: value for name, value in made.items() if not name.startswith("decoder_")}
        elif self.family.encoder_decoder and "decoder_input_ids" not in made:
            start = self.family.decoder_start(config)
            made["decoder_input_ids"] = mask.new_full((mask.shape[0], 1), start)
        return Wrapped(made, front)
