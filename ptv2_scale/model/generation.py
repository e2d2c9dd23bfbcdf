"""Text behind the inputs of a prompted model, token by token, by transformers' own decoding.

Greedy search, beams and the cache of keys and values are those of `transformers.GenerationMixin`,
over a model made of a backbone, what a method binds, and the head over the vocabulary. A prefix is
bound for every forward pass: attention puts it in front of the cached keys and values, so it is
never cached itself. A prompt of embeddings is read once, with the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, GenerationMixin, LogitsProcessorList, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from ptv2_scale.backbones.glm_classic.decoding import piece_columns, read_pieces
from ptv2_scale.backbones.sampling import RowDraws, Sampling
from ptv2_scale.methods.base import Entry
from ptv2_scale.model.decoding import Beams, Request, Written
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.heartbeat import report_progress


@torch.no_grad()
def write(
    model: Any, entry: Entry, inputs: Mapping[str, Tensor], request: Request
) -> list[Written]:
    """Answers to the texts of a batch.

    Args:
        model: the `PromptedModel`, in `eval()` mode.
        entry: what its method puts into the forward passes.
        inputs: of the batch, without labels; the padding may be on either side.
        request: what is asked for.

    Raises:
        UserError: logits are not numbers.
    """
    given, _ = model.backbone_inputs(entry, inputs)
    decoder_start = given.pop("decoder_input_ids", None)
    if decoder_start is None:
        given = _going_on(model, entry, given)
    with entry.bind():
        made = _Writer(model).generate(
            **given,
            generation_config=_settings(request, decoder_start),
            logits_processor=_processors(request, len(given["attention_mask"])),
            synced_gpus=request.synced,
        )
    read = 1 if decoder_start is not None else given.get("input_ids", made[:, :0]).shape[1]
    return [_ended(row, request.end) for row in made[:, read:].tolist()]


def _going_on(model: Any, entry: Entry, given: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs of a model without a decoder, with the positions that its tokens go on from."""
    if model.family.positions == "blocks":
        pieces = _left_padded(piece_columns(given))
        blocks = pieces.pop("blocks")
        return {**pieces, "position_ids": blocks}
    moved = _left_padded(given)
    return {**moved, "position_ids": _positions(model, entry, moved["attention_mask"])}


def _left_padded(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs, each row moved to the right end of the batch.

    Behind its last token a text then goes on at once, so that a sliding window, which counts
    columns, counts the text's own tokens.
    """
    order = inputs["attention_mask"].argsort(dim=1, stable=True)
    return {
        name: value.gather(1, order if value.dim() == 2 else order[..., None].expand_as(value))
        for name, value in inputs.items()
        if name != "position_ids"
    }


def _positions(model: Any, entry: Entry, mask: Tensor) -> Tensor:
    found: Tensor = model.family.position_ids(mask, entry.shift, model.backbone.config)
    return found


def _settings(request: Request, decoder_start: Tensor | None) -> GenerationConfig:
    strategy = request.decoding.strategy
    beams: dict[str, Any] = {}
    if isinstance(strategy, Beams) and strategy.number > 1:
        beams = {"num_beams": strategy.number, "length_penalty": strategy.length_penalty}
    return GenerationConfig(
        max_new_tokens=request.decoding.max_new_tokens,
        eos_token_id=request.end,
        pad_token_id=request.end or 0,  # behind an end, where it is cut off
        decoder_start_token_id=None if decoder_start is None else int(decoder_start[0, 0]),
        **beams,
    )


def _processors(request: Request, batch: int) -> LogitsProcessorList:
    strategy = request.decoding.strategy
    if not isinstance(strategy, Sampling):
        return LogitsProcessorList()
    return LogitsProcessorList([RowDraws(strategy, request.rows or range(batch))])


def _ended(tokens: list[int], end: int | None) -> Written:
    if end is None or end not in tokens:
        return Written(tokens, False)
    return Written(tokens[: tokens.index(end)], True)


class _Writer(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """A backbone with the head over the vocabulary, as transformers' decoding calls it.

    Args:
        model: the `PromptedModel`, whose entry is bound by the caller.
    """

    main_input_name = "input_ids"
    base_model_prefix = "backbone"

    def __init__(self, model: Any) -> None:
        super().__init__(model.backbone.config)
        # Not what the backbone's folder says of decoding: the request is all there is.
        self.generation_config = GenerationConfig()
        self.backbone, self.head = model.backbone, model.head
        self._pieces = model.family.positions == "blocks"

    def get_encoder(self, modality: str | None = None) -> Any:
        """The encoder of an encoder-decoder, which reads the texts once."""
        return self.backbone.get_encoder()

    def forward(
        self,
        input_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        encoder_outputs: Any = None,
        places: Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits [batch, 1, vocabulary] behind the last token, and the cache."""
        report_progress("a token of an answer")
        given = {
            "input_ids": input_ids,
            "inputs_embeds": inputs_embeds,
            "attention_mask": attention_mask,
            "position_ids": position_ids,
            "decoder_input_ids": decoder_input_ids,
            "encoder_outputs": encoder_outputs,
            "places": places,
            **kwargs,
        }
        outputs = self._read(**{name: one for name, one in given.items() if one is not None})
        logits = self.head.logits(outputs.last_hidden_state[:, -1:])
        if logits.isnan().any():
            raise UserError(
                "generate: the logits are not numbers (NaN). The trained tensors are damaged, or do"
                " not go with the values of this backbone: export the run again."
            )
        return CausalLMOutputWithPast(logits=logits, past_key_values=outputs.past_key_values)

    def _read(self, **given: Any) -> Any:
        return read_pieces(self.backbone, **given) if self._pieces else self.backbone(**given)
