"""What a classic GLM reads: texts, texts with blanks and their pieces, texts with choices.

A text is part A: every token sees every other, at positions 0, 1, ... and block position 0. What
fills a blank follows as a piece: <|startofpiece|> and its tokens, all at the position of the mask
they replace, at block positions 1, 2, ...; a piece sees part A, the pieces before it and itself up
to the token that reads. Batches are padded behind a row's own tokens, where those do not look.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ptv2_scale.backbones.glm_classic.vocabularies import PieceTokens
from ptv2_scale.runtime.errors import UserError

NO_LABEL = -100  # what cross_entropy leaves out


@dataclass
class PieceRow:
    """One text and its pieces, token by token; the lists grow together.

    Attributes:
        ids: of the tokens.
        positions, blocks: their positions and block positions.
        labels: what each of them is to say, or NO_LABEL.
        spans: number of the piece that a token belongs to; -1: it is the text's.
    """

    ids: list[int]
    positions: list[int] = field(init=False)
    blocks: list[int] = field(init=False)
    labels: list[int] = field(init=False)
    spans: list[int] = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.ids)
        self.positions = list(range(count))
        self.blocks = [0] * count
        self.labels = [NO_LABEL] * count
        self.spans = [-1] * count

    def add_piece(self, start: int, targets: Sequence[int], position: int, span: int) -> None:
        """A piece that reads `start` and all targets but the last, and is to say the targets."""
        self.ids += [start, *targets[:-1]]
        self.positions += [position] * len(targets)
        self.blocks += range(1, len(targets) + 1)
        self.labels += targets
        self.spans += [span] * len(targets)


def text_inputs(
    tokenizer: Any,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    max_length: int | None = None,
) -> dict[str, Tensor]:
    """Texts, or pairs of texts, to be understood: [CLS] text, whose first state a head reads.

    Args:
        tokenizer: a classic GLM's; it pads on its own side.
        texts: at least one.
        pairs: second texts, one for each.
        max_length: tokens a text may have; what is too long is cut as the tokenizer says.

    Returns:
        Int64 `input_ids` [batch, n], `position_ids` [batch, 2, n] and the padding mask
        `attention_mask` [batch, n].
    """
    found = tokenizer(
        list(texts),
        None if pairs is None else list(pairs),
        padding=True,
        truncation=max_length is not None,
        max_length=max_length,
        return_tensors="pt",
    )
    mask: Tensor = found["attention_mask"]
    positions = mask.cumsum(dim=1).sub(1).clamp(min=0) * mask
    return {
        "input_ids": found["input_ids"],
        "position_ids": torch.stack((positions, torch.zeros_like(positions)), dim=1),
        "attention_mask": mask,
    }


def blank_inputs(
    tokenizer: Any,
    texts: Sequence[str],
    pieces: Sequence[Sequence[str]],
    max_length: int | None = None,
) -> dict[str, Tensor]:
    """Texts with blanks and what fills them, for training or for the likelihood of the pieces.

    Args:
        tokenizer: a classic GLM's.
        texts: each with one or more of the tokenizer's masks ([MASK], [sMASK], [gMASK]).
        pieces: for each text what fills its masks, in their order; each gets <|endofpiece|>.
        max_length: tokens a text may have before its pieces.

    Returns:
        Int64 `input_ids` [batch, n], `position_ids` [batch, 2, n], `attention_mask` [batch]: how
        many tokens at the start see each other, all others being causal; and `labels` [batch, n],
        the next token where a piece is read, -100 elsewhere.

    Raises:
        UserError: a text has another number of masks than pieces.
    """
    tokens = PieceTokens.of(tokenizer)
    rows = [PieceRow(ids) for ids in _token_ids(tokenizer, texts, max_length, special=True)]
    separators = [len(row.ids) for row in rows]
    for number, (row, own) in enumerate(zip(rows, pieces, strict=True)):
        masks = _masks(row.ids, tokens, number, len(own))
        for span, (mask, ids) in enumerate(zip(masks, _token_ids(tokenizer, own), strict=True)):
            row.add_piece(tokens.start, [*ids, tokens.end], mask, span)
    batch = _padded(rows, tokens.pad)
    del batch["spans"]
    return {**batch, "attention_mask": torch.tensor(separators)}


def choice_inputs(
    tokenizer: Any,
    texts: Sequence[str],
    choices: Sequence[Sequence[str]],
    max_length: int | None = None,
) -> dict[str, Tensor]:
    """Texts with one blank and several choices for it, all scored in one forward pass.

    Choices do not see each other. A BPE vocabulary spells a word behind a space otherwise than one
    at the start, so a choice in the middle of a sentence starts with a space: " yes".

    Args:
        tokenizer: a classic GLM's.
        texts: each with one mask.
        choices: for each text at least one; texts may have different numbers of them.
        max_length: tokens a text may have before its choices.

    Returns:
        Int64 `input_ids` [batch, n], `position_ids` [batch, 2, n], `attention_mask`
        [batch, 1, n, n] (1: visible), `labels` [batch, n] with -100 where no choice is read, and
        `spans` [batch, n], the choice a token belongs to or -1. The last two are for
        `choice_scores`.

    Raises:
        UserError: a text has no mask or several, or a choice is empty.
    """
    tokens = PieceTokens.of(tokenizer)
    rows = [PieceRow(ids) for ids in _token_ids(tokenizer, texts, max_length, special=True)]
    for number, (row, own) in enumerate(zip(rows, choices, strict=True)):
        (mask,) = _masks(row.ids, tokens, number, 1)
        for span, ids in enumerate(_token_ids(tokenizer, own)):
            if not ids:
                raise UserError(f"text {number}: choice {span} is empty.")
            row.add_piece(tokens.start, ids, mask, span)
    batch = _padded(rows, tokens.pad)
    return {**batch, "attention_mask": _choice_mask(batch["spans"], rows)}


def choice_scores(logits: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Log-probability of each choice, summed over its tokens.

    Args:
        logits: [batch, n, vocabulary].
        batch: from `choice_inputs`.

    Returns:
        [batch, most choices], -inf where a text has fewer.
    """
    labels, spans = batch["labels"], batch["spans"]
    real = labels != NO_LABEL
    logs = logits.float().log_softmax(dim=-1)
    each = logs.gather(2, labels.clamp(min=0)[..., None])[..., 0] * real
    member = torch.nn.functional.one_hot(spans + 1)[..., 1:]
    scores = torch.einsum("bn,bnc->bc", each, member.to(each.dtype))
    return scores.masked_fill(member.sum(dim=1) == 0, float("-inf"))


def mask_places(input_ids: Tensor, tokens: PieceTokens) -> list[list[int]]:
    """Columns of the masks of each text, from the left; `input_ids` is [batch, n]."""
    rows: list[list[int]] = input_ids.tolist()
    return [[place for place, token in enumerate(row) if token in tokens.masks] for row in rows]


def _token_ids(
    tokenizer: Any, texts: Sequence[str], max_length: int | None = None, special: bool = False
) -> list[list[int]]:
    if not texts:
        return []
    found: list[list[int]] = tokenizer(
        list(texts),
        add_special_tokens=special,
        truncation=max_length is not None,
        max_length=max_length,
    )["input_ids"]
    return found


def _masks(ids: list[int], tokens: PieceTokens, number: int, wanted: int) -> list[int]:
    found = [place for place, token in enumerate(ids) if token in tokens.masks]
    if len(found) != wanted:
        raise UserError(
            f"text {number}: has {len(found)} blanks ({', '.join(tokens.masks.values())}) in its"
            f" {len(ids)} tokens, but {wanted} are to be filled. A text that is cut to a length"
            " loses the blanks of the part that is cut."
        )
    return found


def _padded(rows: Sequence[PieceRow], pad: int) -> dict[str, Tensor]:
    longest = max(len(row.ids) for row in rows)

    def tensor(values: Iterator[list[int]], filler: int) -> Tensor:
        return torch.tensor([row + [filler] * (longest - len(row)) for row in values])

    positions = tensor((row.positions for row in rows), 0)
    blocks = tensor((row.blocks for row in rows), 0)
    return {
        "input_ids": tensor((row.ids for row in rows), pad),
        "position_ids": torch.stack((positions, blocks), dim=1),
        "labels": tensor((row.labels for row in rows), NO_LABEL),
        "spans": tensor((row.spans for row in rows), -1),
    }


def _choice_mask(spans: Tensor, rows: Sequence[PieceRow]) -> Tensor:
    """[batch, 1, n, n]: all see part A; in a choice, its own tokens up to the one that reads."""
    length = spans.shape[1]
    sizes = torch.tensor([row.spans.count(-1) for row in rows])
    text = (torch.arange(length) < sizes[:, None])[:, None, :]
    same = (spans[:, :, None] == spans[:, None, :]) & (spans >= 0)[:, None, :]
    visible = text | (same & torch.ones(length, length, dtype=torch.bool).tril())
    return visible[:, None].long()
