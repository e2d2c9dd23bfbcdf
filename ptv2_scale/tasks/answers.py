"""Answers as texts, compared the way SQuAD's official evaluation does (Rajpurkar et al., 2016)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalised(text: str) -> str:
    """Lower case, without punctuation and English articles, one space between words."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, truths: Sequence[str]) -> float:
    """1 where an answer is one of the right ones, else 0; all of them normalised."""
    return float(normalised(answer) in map(normalised, truths))


def token_f1(answer: str, truths: Sequence[str]) -> float:
    """F1 of the words that an answer shares with a right one, with the best of at least one."""
    words = normalised(answer).split()
    return max(_f1(words, normalised(truth).split()) for truth in truths)


def _f1(found: Sequence[str], wanted: Sequence[str]) -> float:
    if not found or not wanted:
        return float(list(found) == list(wanted))
    common = (Counter(found) & Counter(wanted)).total()
    return 2 * common / (len(found) + len(wanted))
