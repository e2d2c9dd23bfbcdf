"""Exact match and F1 of answers, as SQuAD's official evaluation has them, from 0 to 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ptv2_scale.tasks.answers import exact_match, normalised, token_f1

Compare = Callable[[str, Sequence[str]], float]
_COMPARE: Mapping[str, Compare] = {"f1": token_f1, "exact": exact_match}


def span_scores(
    records: Sequence[Mapping[str, object]], truth: Sequence[Sequence[str]], no_answer: bool
) -> dict[str, float]:
    """Every metric that the official evaluation gives.

    Args:
        records: one a question, with `answer`; for `no_answer` also `best` and `null_difference`.
        truth: texts of the right answers; none: there is no answer.
        no_answer: whether there may be none: scores of both sorts of questions are then told apart,
            and the best threshold for giving no answer is looked for.
    """
    right = [_gold(texts) for texts in truth]
    given = [str(record["answer"]) for record in records]
    found = {name: _each(compare, given, right) for name, compare in _COMPARE.items()}
    scores = {name: _mean(values) for name, values in found.items()}
    if not no_answer:
        return scores
    for sort, wanted in (("has_answer", True), ("no_answer", False)):
        for name, values in found.items():
            own = [v for v, texts in zip(values, right, strict=True) if (texts != [""]) is wanted]
            if own:
                scores[f"{sort}_{name}"] = _mean(own)
    best = [str(record["best"]) for record in records]
    nulls = [float(str(record["null_difference"])) for record in records]
    for name, compare in _COMPARE.items():
        value, threshold = best_threshold(_each(compare, best, right), best, right, nulls)
        scores |= {f"best_{name}": value, f"best_{name}_threshold": threshold}
    return scores


def best_threshold(
    scores: Sequence[float],
    answers: Sequence[str],
    right: Sequence[Sequence[str]],
    nulls: Sequence[float],
) -> tuple[float, float]:
    """The best mean score over all thresholds above which no answer is given, and the threshold.

    Args:
        scores: of the best span of each question.
        answers: its text.
        right: texts of the right answers; [""]: there is none.
        nulls: the score of no answer less that of the best span.
    """
    unanswerable = [list(texts) == [""] for texts in right]
    current = best = float(sum(unanswerable))
    threshold = 0.0
    for place in sorted(range(len(nulls)), key=lambda place: nulls[place]):
        if not unanswerable[place]:
            current += scores[place]
        elif answers[place]:
            current -= 1
        if current > best:
            best, threshold = current, nulls[place]
    return best / len(nulls), threshold


def _gold(texts: Sequence[str]) -> list[str]:
    """Right answers that are more than articles and punctuation; [""]: none."""
    return [text for text in texts if normalised(text)] or [""]


def _each(compare: Compare, given: Sequence[str], right: Sequence[Sequence[str]]) -> list[float]:
    return [compare(answer, texts) for answer, texts in zip(given, right, strict=True)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
