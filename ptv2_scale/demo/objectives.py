"""What a model is pre-trained on: batches of fresh documents, and what it is to say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

import torch
from torch import Tensor

from ptv2_scale.demo.language import VERDICTS, Document, write_document
from ptv2_scale.demo.tokenizer import BOS, EOS, PAD, SENTINELS

IGNORED_LABEL = -100  # what the model's loss leaves out

Span = tuple[int, int]


@dataclass(frozen=True)
class Batch:
    """One batch as the model's forward takes it."""

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor


class Objective(Protocol):
    """Makes batches; no document is kept for a second pass."""

    def batch(self, rng: Random, ids: Mapping[str, int], most_aspects: int, size: int) -> Batch:
        """A batch of `size` fresh documents.

        Args:
            rng: where documents come from.
            ids: of the tokenizer's tokens.
            most_aspects: that a report speaks of.
            size: documents.
        """

    def aligned(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [batch, n, vocabulary] and the labels [batch, n] that they are to give."""


@dataclass(frozen=True)
class SpanCorruption:
    """T5's objective: spans give way to sentinels, and the decoder writes them.

    A document's end is hidden from one of its verdict lines on, so that the decoder writes aspects
    and verdicts.

    Attributes:
        single_word_share: of documents in which one verdict's word alone is hidden instead, as a
            cloze asks for it.
        other_span_share: of documents in which a few words elsewhere are hidden as well.
        longest_other_span: words of such a span.
    """

    single_word_share: float = 0.0
    other_span_share: float = 0.05
    longest_other_span: int = 3

    def batch(self, rng: Random, ids: Mapping[str, int], most_aspects: int, size: int) -> Batch:
        """See `Objective`."""
        sources: list[list[int]] = []
        targets: list[list[int]] = []
        for _ in range(size):
            document = write_document(rng, most_aspects)
            source, target = corrupt(document.words, self.choose_spans(rng, document))
            sources.append([ids[word] for word in source])
            targets.append([ids[word] for word in target])
        input_ids = pad_rows(sources, ids[PAD])
        return Batch(input_ids, (input_ids != ids[PAD]).long(), pad_rows(targets, IGNORED_LABEL))

    def aligned(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Objective`: a decoder's place says its own label."""
        return logits, labels

    def choose_spans(self, rng: Random, document: Document) -> list[Span]:
        """Which spans of a document to hide, in their order."""
        spans = [self._verdict_span(rng, document)]
        if rng.random() < self.other_span_share:
            length = rng.randint(1, self.longest_other_span)
            start = rng.randrange(document.verdict_starts[0] - length)
            spans.append((start, start + length))
        return sorted(spans)

    def _verdict_span(self, rng: Random, document: Document) -> Span:
        start = rng.choice(document.verdict_starts)
        # With a share of 0 nothing is drawn: the committed backbone's documents stay what they are.
        if self.single_word_share and rng.random() < self.single_word_share:
            return (start + 1, start + 2)
        return (start, len(document.words))


class NextToken:
    """Causal language modelling: every word of a document from those before it, and its end."""

    def batch(self, rng: Random, ids: Mapping[str, int], most_aspects: int, size: int) -> Batch:
        """See `Objective`."""
        documents = [write_document(rng, most_aspects).words for _ in range(size)]
        rows = [[ids[word] for word in (BOS, *words, EOS)] for words in documents]
        input_ids = pad_rows(rows, ids[PAD])
        return Batch(input_ids, (input_ids != ids[PAD]).long(), pad_rows(rows, IGNORED_LABEL))

    def aligned(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `Objective`: a place says the next one's label."""
        return logits[:, :-1], labels[:, 1:]


def corrupt(words: Sequence[str], spans: Sequence[Span]) -> tuple[list[str], list[str]]:
    """What the encoder reads and what the decoder writes once `spans` are hidden."""
    source: list[str] = []
    target: list[str] = []
    position = 0
    for sentinel, (start, stop) in zip(SENTINELS, spans, strict=False):
        source += [*words[position:start], sentinel]
        target += [sentinel, *words[start:stop]]
        position = stop
    return [*source, *words[position:], EOS], [*target, SENTINELS[len(spans)], EOS]


def pad_rows(rows: Sequence[Sequence[int]], filling: int) -> Tensor:
    """Rows of ids as one tensor, filled up on the right."""
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[filling] * (width - len(row))] for row in rows])


def verdict_accuracy(
    objective: Objective, logits: Tensor, labels: Tensor, ids: Mapping[str, int]
) -> float:
    """The share of the verdict words among labels [batch, n] that logits give."""
    logits, labels = objective.aligned(logits, labels)
    verdict_ids = torch.tensor([ids[word] for word in VERDICTS.values()])
    is_verdict = torch.isin(labels, verdict_ids)
    hits = logits.argmax(-1)[is_verdict] == labels[is_verdict]
    return float(hits.float().mean())
