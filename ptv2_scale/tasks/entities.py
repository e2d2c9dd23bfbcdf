"""Tags of words, and the entities that they mark: "B-PER", "I-PER" and the like.

seqeval scores them. It takes a second of a rank's time to start, so it is loaded where a score is
wanted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

OUTSIDE = "O"
# BILOU's letters for the end of an entity and for one of a single word, as IOBES has them.
_AS_IOBES = {"L": "E", "U": "S"}
_MARK = re.compile(r"([BIESLU])-(.+)")
_ORDER = "BILEUS"
_SHOWN = 20

Tags = Sequence[str]


def marks_entities(tags: Iterable[str]) -> bool:
    """Whether all tags are O or a letter of IOB1, IOB2, IOBES or BILOU with a type behind it."""
    return all(tag == OUTSIDE or _MARK.fullmatch(tag) for tag in tags)


def in_tag_order(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags in the order of their numbers: O, then types by the alphabet, beginnings first."""
    return tuple(sorted(set(tags), key=_place))


def _place(tag: str) -> tuple[bool, str, int]:
    mark = _MARK.fullmatch(tag)
    if mark is None:
        return (tag != OUTSIDE, tag, 0)
    return (True, mark[2], _ORDER.index(mark[1]))


def as_iobes(tag: str) -> str:
    """A tag of BILOU as IOBES writes it; those of other schemes stay."""
    mark = _MARK.fullmatch(tag)
    return tag if mark is None else f"{_AS_IOBES.get(mark[1], mark[1])}-{mark[2]}"


def entity_scores(truth: Sequence[Tags], predicted: Sequence[Tags]) -> dict[str, float]:
    """f1, precision and recall of whole entities: right are those with the same words and type.

    An entity begins and ends where conlleval lets it, so an I- without a B- begins one. All types
    count together (micro average); what is nought by nought is 0.

    Args:
        truth: the right tags of each sentence, one at least.
        predicted: tags of the same words.
    """
    from seqeval.metrics.sequence_labeling import precision_recall_fscore_support

    precision, recall, f1, _ = precision_recall_fscore_support(
        [list(map(as_iobes, tags)) for tags in truth],
        [list(map(as_iobes, tags)) for tags in predicted],
        average="micro",
        zero_division=0,
    )
    return {"f1": float(f1), "precision": float(precision), "recall": float(recall)}


def word_accuracy(truth: Sequence[Tags], predicted: Sequence[Tags]) -> float:
    """Share of words whose tag is right; sentences as for `entity_scores`."""
    pairs = [
        one == other
        for tags, found in zip(truth, predicted, strict=True)
        for one, other in zip(tags, found, strict=True)
    ]
    return sum(pairs) / len(pairs)


def tag_counts(sentences: Sequence[Tags], labels: Sequence[str]) -> list[str]:
    """Lines that tell people how often tags and entities occur, and what looks wrong.

    Args:
        sentences: tags of each.
        labels: all tags, in their order.
    """
    counts = Counter(tag for tags in sentences for tag in tags)
    words = counts.total()
    outside = f", {counts[OUTSIDE] / words:.1%} of them {OUTSIDE}" if OUTSIDE in labels else ""
    said = [f"{len(sentences)} sentences of {words} words{outside}"]
    if marks_entities(labels):
        found = _entities(sentences)
        said.append(f"{found.total()} entities: {_listed(found)}")
    else:
        said.append(f"tags: {_listed(counts)}")
    missing = [label for label in labels if label not in counts]
    if missing:
        said.append(f"warning: no word has {', '.join(missing[:_SHOWN])}")
    said += [
        f"warning: {' and '.join(same)} differ in case alone. Where they are one, correct the rows;"
        " task.labels names the tags there are"
        for same in _near_equal(labels)
    ]
    return said


def _near_equal(labels: Sequence[str]) -> list[list[str]]:
    """Types, or tags without one, that differ in case alone."""
    alike: dict[str, set[str]] = {}
    for label in labels:
        mark = _MARK.fullmatch(label)
        name = label if mark is None else mark[2]
        alike.setdefault(name.casefold(), set()).add(name)
    return [sorted(same) for same in alike.values() if len(same) > 1]


def _entities(sentences: Sequence[Tags]) -> Counter[str]:
    """How many entities of each type sentences have."""
    from seqeval.metrics.sequence_labeling import get_entities

    found = (get_entities(list(map(as_iobes, tags))) for tags in sentences)
    return Counter(kind for entities in found for kind, _, _ in entities)


def _listed(counts: Counter[str]) -> str:
    shown = [f"{name} {count}" for name, count in counts.most_common(_SHOWN)]
    more = [f"and {len(counts) - _SHOWN} more"] if len(counts) > _SHOWN else []
    return ", ".join([*shown, *more]) or "none"
