"""ROUGE-L and BLEU of generated texts, by the packages that papers score with.

ROUGE-L (Lin, 2004) by Google's `rouge_score`: the mean of a text's F1, in lower case, of words of
ASCII letters and digits. BLEU (Papineni et al., 2002) by `sacrebleu` (Post, 2018): of the whole
corpus, with its default tokenizer 13a and smoothing. Both from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from ptv2_scale.runtime.errors import UserError

_PACKAGES = {"rouge_l": "rouge_score", "bleu": "sacrebleu"}


def rouge_l(answers: Sequence[str], references: Sequence[str]) -> float:
    """Mean ROUGE-L F1 of answers against one reference each.

    Raises:
        UserError: the package is not installed.
    """
    scorer = _package("rouge_l", "rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    pairs = zip(references, answers, strict=True)
    found = [scorer.score(reference, answer)["rougeL"].fmeasure for reference, answer in pairs]
    return float(sum(found) / len(found))


def bleu(answers: Sequence[str], references: Sequence[str]) -> float:
    """BLEU of a corpus, with one reference for each text.

    Raises:
        UserError: the package is not installed.
    """
    score = _package("bleu", "sacrebleu").corpus_bleu(list(answers), [list(references)]).score
    return float(score) / 100


WRITTEN: dict[str, Callable[[Sequence[str], Sequence[str]], float]] = {
    "rouge_l": rouge_l,
    "bleu": bleu,
}


def check_packages() -> None:
    """Refuse a job whose scores could not be had, before it begins.

    Raises:
        UserError: a package is not installed.
    """
    for metric, package in _PACKAGES.items():
        _package(metric, package)


def _package(metric: str, module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise UserError(
            f"task.metric: {metric} is scored by the package {_PACKAGES[metric]}, which is not"
            " installed. Install ptv2_scale[text], or choose log_likelihood or exact_match."
        ) from None
