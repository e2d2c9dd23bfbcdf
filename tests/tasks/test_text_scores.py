"""ROUGE-L against its definition, BLEU against its closed form, and what is said without them."""

from __future__ import annotations

import math
import random
import sys
from collections import Counter

import pytest

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.text_scores import bleu, check_packages, rouge_l


def longest_common(one: list[str], two: list[str]) -> int:
    """Length of the longest common subsequence, by trying."""
    if not one or not two:
        return 0
    if one[-1] == two[-1]:
        return 1 + longest_common(one[:-1], two[:-1])
    return max(longest_common(one[:-1], two), longest_common(one, two[:-1]))


def test_rouge_l_is_the_f1_of_the_longest_common_subsequence() -> None:
    source = random.Random(3)
    pairs = [[source.choices("abcd", k=source.randint(1, 7)) for _ in "12"] for _ in range(30)]
    expected = []
    for answer, reference in pairs:
        common = longest_common(answer, reference)
        precision, recall = common / len(answer), common / len(reference)
        expected.append(2 * precision * recall / (precision + recall) if common else 0.0)
    answers, references = ([" ".join(pair[side]) for pair in pairs] for side in (0, 1))
    assert rouge_l(answers, references) == pytest.approx(sum(expected) / len(pairs))
    assert rouge_l(["The cat."], ["the CAT"]) == 1.0
    assert rouge_l([""], ["the cat"]) == 0.0


def grams(words: list[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[at : at + size]) for at in range(len(words) - size + 1))


def test_bleu_is_its_closed_form() -> None:
    pairs = [("a b c d e f", "a b c d x f g"), ("k l m n o", "k l m n o")]
    matched, made, answered, expected = [0] * 4, [0] * 4, 0, 0
    for answer, reference in ((one.split(), two.split()) for one, two in pairs):
        answered, expected = answered + len(answer), expected + len(reference)
        for size in range(1, 5):
            found = grams(answer, size)
            matched[size - 1] += sum((found & grams(reference, size)).values())
            made[size - 1] += sum(found.values())
    assert matched == [10, 7, 5, 3]
    precision = math.exp(sum(math.log(m / n) for m, n in zip(matched, made, strict=True)) / 4)
    brevity = math.exp(1 - expected / answered)
    assert bleu(*zip(*pairs, strict=True)) == pytest.approx(precision * brevity)
    assert bleu(["a b c d"], ["a b c d"]) == pytest.approx(1.0)


@pytest.mark.parametrize("missing", ["rouge_score", "sacrebleu"])
def test_a_package_that_is_not_there(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_packages()
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UserError, match=rf"package {missing}, .*Install ptv2_scale\[text\]"):
        check_packages()
