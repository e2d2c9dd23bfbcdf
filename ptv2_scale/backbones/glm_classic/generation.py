"""Filling blanks with a classic GLM, with or without a prefix, token by token with a cache.

A text is read once, all its tokens seeing each other. Then its blanks are filled from left to
right, each a piece behind everything before: <|startofpiece|> goes in, the next token is chosen and
goes in, until <|endofpiece|> is chosen. A prefix is bound for every forward pass; attention puts it
in front of the cached keys and values, so it is never cached itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from transformers import DynamicCache

from ptv2_scale.backbones.glm_classic.inputs import mask_places, text_inputs
from ptv2_scale.backbones.glm_classic.sampling import Choice
from ptv2_scale.backbones.glm_classic.vocabularies import PieceTokens
from ptv2_scale.backbones.sampling import Sampling
from ptv2_scale.backbones.vocabulary import check_ids
from ptv2_scale.runtime.errors import UserError


class Bindable(Protocol):
    """What attention can be let see."""

    def bind(self) -> AbstractContextManager[None]:
        """Let it, for the forward passes inside."""


@runtime_checkable
class Prompted(Protocol):
    """A backbone that brings a prefix along, such as `ptv2_scale.model.prompted.PromptedModel`."""

    backbone: Any

    def entry(self) -> Bindable:
        """What enters a forward pass."""


def fill_blank(
    model: Prompted | Any,
    tokenizer: Any,
    texts: str | Sequence[str],
    *,
    max_new_tokens: int = 64,
    sampling: Sampling | None = None,
) -> list[list[str]]:
    """Fill the blanks of texts.

        model = load_prompted("runs/mine", backbone="models/glm-10b")
        fill_blank(model, tokenizer, "Ng is an adjunct professor at [MASK].")
        # such as [[" Stanford University"]]

    [MASK] stands for a few words, [sMASK] for sentences, [gMASK] for a long end; RoBERTa's and
    BERT's vocabularies know only their own mask, `tokenizer.mask_token`.

    Args:
        model: a prompted classic GLM, or a backbone from `load_backbone`; in `eval()` mode.
        tokenizer: its tokenizer, from `ptv2_scale.backbones.tokenizers.load_tokenizer`.
        texts: one or more, each with at least one blank.
        max_new_tokens: of a piece.
        sampling: None: the likeliest token each time.

    Returns:
        For each text what fills its blanks, from the left.

    Raises:
        UserError: a text has no blank, text or piece is longer than the position tables, or a
            token has no row in the embedding.
    """
    given = [texts] if isinstance(texts, str) else list(texts)
    tokens, inputs = PieceTokens.of(tokenizer), text_inputs(tokenizer, given)
    tables = {"input_ids": int(_parts(model)[0].config.vocab_size)}
    named = {f"text {number}": ids for number, ids in enumerate(inputs["input_ids"].tolist())}
    for where, ids in {"a piece": [tokens.start, tokens.end], **named}.items():
        check_ids({"input_ids": ids}, tables, where, tokenizer.convert_ids_to_tokens)
    filled = generate(
        model,
        tokens,
        inputs,
        vocabulary=len(tokenizer),
        max_new_tokens=max_new_tokens,
        sampling=sampling,
    )
    return [[tokenizer.decode(ids, skip_special_tokens=True) for ids in row] for row in filled]


@torch.no_grad()
def generate(
    model: Prompted | Any,
    tokens: PieceTokens,
    inputs: dict[str, Tensor],
    *,
    vocabulary: int,
    max_new_tokens: int = 64,
    sampling: Sampling | None = None,
) -> list[list[list[int]]]:
    """Fill the blanks of a batch of token ids.

    Args:
        model: see `fill_blank`.
        tokens: ids of the piece tokens and masks.
        inputs: `input_ids`, `position_ids` and `attention_mask` from `text_inputs`; the padding
            may be on either side.
        vocabulary: ids from here on, the padding of the embedding, are never chosen.
        max_new_tokens: of a piece.
        sampling: None: the likeliest token each time.

    Returns:
        [text][blank] -> token ids of the piece, without <|startofpiece|> and <|endofpiece|>.

    Raises:
        UserError: see `fill_blank`.
    """
    backbone, bound = _parts(model)
    places = mask_places(inputs["input_ids"], tokens)
    _check(inputs, places, tokens, backbone.config.max_sequence_length, max_new_tokens)
    with bound:
        reader = _Reader(backbone, inputs)
        choose = Choice(vocabulary, sampling)
        blanks = [_blank(places, number) for number in range(max(map(len, places)))]
        columns = [
            _fill(reader, choose, tokens, columns, max_new_tokens, last=number == len(blanks) - 1)
            for number, columns in enumerate(blanks)
        ]
    return [[columns[number][row] for number in range(len(own))] for row, own in enumerate(places)]


def _parts(model: Prompted | Any) -> tuple[Any, AbstractContextManager[None]]:
    if isinstance(model, Prompted):
        return model.backbone, model.entry().bind()
    return model, nullcontext()


def _blank(places: list[list[int]], number: int) -> list[int | None]:
    """Column of each text's blank of this number; None where it has fewer."""
    return [row[number] if number < len(row) else None for row in places]


def _check(
    inputs: dict[str, Tensor],
    places: list[list[int]],
    tokens: PieceTokens,
    room: int,
    max_new_tokens: int,
) -> None:
    masks = ", ".join(tokens.masks.values())
    for number, row in enumerate(places):
        if not row:
            raise UserError(f"text {number}: has no blank to fill; a blank is one of {masks}.")
    longest = int(inputs["attention_mask"].sum(dim=1).max())
    if longest > room:
        raise UserError(
            f"A text of {longest} tokens is longer than this backbone's position table, which has"
            f" room for {room}. Shorten it."
        )
    # <|startofpiece|> is at block position 1, and each token but the last is read behind it.
    if not 1 <= max_new_tokens < room:
        raise UserError(
            f"max_new_tokens: found {max_new_tokens}, allowed are 1 to {room - 1}, the room in this"
            " backbone's block position table."
        )


class _Reader:
    """A backbone that has read a batch of texts and reads on, a token of each text at a time."""

    def __init__(self, backbone: Any, inputs: dict[str, Tensor]) -> None:
        self.backbone = backbone
        device = backbone.get_input_embeddings().weight.device
        self.cache = DynamicCache()
        moved = {name: value.to(device) for name, value in inputs.items()}
        self.visible = moved["attention_mask"]
        self.positions = moved["position_ids"][:, 0]
        backbone(**moved, past_key_values=self.cache, use_cache=True, output_predict=False)

    def read(self, token: Tensor, position: Tensor, block: int, active: Tensor) -> Tensor:
        """Logits [batch, vocabulary] behind one more token of each text.

        Args:
            token: [batch].
            position: [batch], that of the mask.
            block: block position.
            active: [batch], false where later tokens must not see this one: it is a filler.
        """
        self.visible = torch.cat((self.visible, active[:, None].to(self.visible.dtype)), dim=1)
        positions = torch.stack((position, torch.full_like(position, block)), dim=1)
        outputs = self.backbone(
            input_ids=token[:, None],
            position_ids=positions[..., None],
            attention_mask=self.visible[:, None, None, :],
            past_key_values=self.cache,
            use_cache=True,
            output_predict=True,
        )
        logits: Tensor = outputs.logits[:, -1]
        return logits


def _fill(
    reader: _Reader,
    choose: Choice,
    tokens: PieceTokens,
    columns: list[int | None],
    limit: int,
    last: bool,
) -> list[list[int]]:
    """One piece for each text that has a blank at its entry of `columns`."""
    device = reader.visible.device
    active = torch.tensor([column is not None for column in columns], device=device)
    column = torch.tensor([column or 0 for column in columns], device=device)
    position = reader.positions.gather(1, column[:, None])[:, 0]
    token = torch.full_like(position, tokens.start)
    pieces: list[list[int]] = [[] for _ in columns]
    for block in range(1, limit + 1):
        token = choose(reader.read(token, position, block, active))
        active = active & (token != tokens.end)
        for row in active.nonzero()[:, 0].tolist():
            pieces[row].append(int(token[row]))
        if not bool(active.any()):
            return pieces
    if not last:
        # The next pieces see this one's last token, which nothing has read yet.
        reader.read(token, position, limit + 1, active)
    return pieces
