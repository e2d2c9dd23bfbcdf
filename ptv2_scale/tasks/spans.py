"""Scores of tokens become answers: the best spans of a window, of all windows, or none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from ptv2_scale.tasks.base import Record
from ptv2_scale.tasks.contexts import ContextWindow

_OUTSIDE = -math.inf


class Scored(NamedTuple):
    """A span of a context.

    Attributes:
        score: of its first token's start and its last token's end, together.
        start, end: characters, `end` excluded.
    """

    score: float
    start: int
    end: int


def best_spans(outputs: Tensor, window: ContextWindow, n_best: int, longest: int) -> list[Scored]:
    """The best spans of one window, best first.

    Args:
        outputs: [tokens, 2], scores of being the first and the last token of the answer.
        window: which tokens are whose.
        n_best: starts and ends that are tried, and most spans.
        longest: most tokens of a span.
    """
    size = window.last - window.first
    scores = outputs[window.place : window.place + size].float().cpu().clone()
    starts, ends = window.context.starts, window.context.ends
    for token in range(size):  # tokens of white space alone are no answer
        if starts[window.first + token] >= ends[window.first + token]:
            scores[token] = _OUTSIDE
    best = scores.topk(min(n_best, size), dim=0)
    values, places = best.values.tolist(), best.indices.tolist()
    found = [
        Scored(first + second, starts[window.first + start], ends[window.first + end])
        for (first, _), (start, _) in zip(values, places, strict=True)
        for (_, second), (_, end) in zip(values, places, strict=True)
        if start <= end < start + longest and first > _OUTSIDE and second > _OUTSIDE
    ]
    return ranked(found)[:n_best]


def ranked(spans: Iterable[Scored]) -> list[Scored]:
    """Spans from the best to the worst, each once; equal ones in the order of the text."""
    best: dict[tuple[int, int], Scored] = {}
    for span in spans:
        key = (span.start, span.end)
        best[key] = max(best.get(key, span), span)
    return sorted(best.values(), key=lambda span: (-span.score, span.start, span.end))


def window_record(outputs: Tensor, window: ContextWindow, n_best: int, longest: int) -> Record:
    """What an example says: its best spans with their texts, and the score of no answer."""
    spans = best_spans(outputs, window, n_best, longest)
    return {
        "spans": [
            {**span._asdict(), "text": window.context.text[span.start : span.end]} for span in spans
        ],
        "null": float(outputs[window.null].float().sum()),
    }


def row_record(windows: Sequence[Record], n_best: int, no_answer: bool, threshold: float) -> Record:
    """The answer to a question, from what its windows say.

    No answer is as likely as the window says that wants it least; it is given where its score is
    above the best span's by more than the threshold.

    Returns:
        `answer` (a text, "" for none) and `start` (its first character, or None); where there may
        be none, `best` (the text of the best span) and `null_difference` (score of no answer less
        the best span's); `n_best`: texts with their probabilities among one another.
    """
    texts = {(one["start"], one["end"]): one["text"] for two in windows for one in two["spans"]}
    spans = ranked(
        Scored(one["score"], one["start"], one["end"]) for two in windows for one in two["spans"]
    )[:n_best]
    named = [(texts[span.start, span.end], span) for span in spans]
    text, start = (named[0][0], named[0][1].start) if named else ("", None)
    record: dict[str, Any] = {"answer": text, "start": start, "n_best": _probable(named)}
    if no_answer:
        null = min(float(one["null"]) for one in windows)
        difference = null - spans[0].score if spans else math.inf
        record |= {"best": text, "null_difference": min(difference, 1e9)}
        if difference > threshold:
            record |= {"answer": "", "start": None}
    return record


def _probable(named: Sequence[tuple[str, Scored]]) -> list[Record]:
    weights = [math.exp(span.score - named[0][1].score) for _, span in named]
    return [
        {"text": text, "start": span.start, "probability": weight / sum(weights)}
        for (text, span), weight in zip(named, weights, strict=True)
    ]
