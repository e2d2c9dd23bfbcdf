"""The demo's made-up language: short reports of hotel stays, and a task about them.

A report speaks of up to four aspects of a stay, each with one opinion.  Many opinion words
are said of every aspect, and a phrase such as "nobody called" turns them round, so that a bag
of words does not tell which aspect was good.  A document for pre-training closes with verdict
lines such as "food good .", which a span-corruption objective can hide.

The task: from a report without verdict lines, tell whether two fixed aspects fared alike, both
good or both poor.  No weighted sum of the two verdicts answers that, so a linear head needs
features in which something has already compared them.

Run `python -m ptv2_scale.demo.language OUT` to write the task's two files into OUT.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypedDict

NOUNS: dict[str, tuple[str, ...]] = {
    "room": ("room", "bed", "balcony"),
    "food": ("food", "soup", "breakfast"),
    "service": ("service", "waiter", "porter"),
    "place": ("place", "view", "garden"),
    "price": ("price", "bill", "rate"),
    "leisure": ("leisure", "pool", "sauna"),
}
"""What a report may name, by the aspect that it belongs to."""

COMMON_OPINIONS: dict[bool, tuple[str, ...]] = {
    True: ("lovely", "excellent", "wonderful", "superb"),
    False: ("awful", "dreadful", "terrible", "shameful"),
}
"""Opinion words said of every aspect, by what they say if nothing turns them round."""

OWN_OPINIONS: dict[str, dict[bool, tuple[str, ...]]] = {
    "room": {True: ("spacious", "quiet"), False: ("cramped", "noisy")},
    "food": {True: ("tasty", "fresh"), False: ("bland", "stale")},
    "service": {True: ("friendly", "prompt"), False: ("rude", "slow")},
    "place": {True: ("scenic", "central"), False: ("gloomy", "remote")},
    "price": {True: ("fair", "modest"), False: ("steep", "excessive")},
    "leisure": {True: ("fun", "varied"), False: ("boring", "crowded")},
}
"""Opinion words said of one aspect alone."""

VERDICTS: dict[bool, str] = {True: "good", False: "poor"}

PLAIN: tuple[str, ...] = (
    "the {noun} was {opinion}",
    "the {noun} seemed {opinion} to us",
    "we found the {noun} {opinion}",
    "everyone called the {noun} {opinion}",
)
"""Clauses that mean what their opinion word says."""

REVERSED: tuple[str, ...] = (
    "the {noun} was not {opinion}",
    "the {noun} never seemed {opinion} to us",
    "we hardly found the {noun} {opinion}",
    "nobody called the {noun} {opinion}",
)
"""Clauses that mean the opposite of what their opinion word says."""

LINKS: tuple[str, ...] = (".", ".", "and", "but", "while")
"""What may stand between two clauses; a full stop is the most common."""

FILLERS: tuple[str, ...] = (
    "we came by {means} on {day} .",
    "my {guest} came along on {day} .",
    "we stayed until {day} .",
)
"""Sentences that carry no opinion."""

FILLER_WORDS: dict[str, tuple[str, ...]] = {
    "means": ("train", "car", "bus", "ferry"),
    "day": ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    "guest": ("sister", "brother", "aunt", "uncle", "friend"),
}

MOST_ASPECTS = 4
REVERSED_SHARE = 0.2
OWN_SHARE = 0.5
FILLER_SHARE = 0.25
TASK_ASPECTS = ("service", "food")
TASK_SEED = 11
TASK_SPLITS: dict[str, int] = {"train": 4000, "validation": 500}


class Example(TypedDict):
    """One row of the task: a report, and 1 where its two aspects fared alike, else 0."""

    text: str
    label: int


@dataclass(frozen=True)
class Report:
    """The words of a report, and which of the aspects that it speaks of were good."""

    words: tuple[str, ...]
    verdicts: Mapping[str, bool]


@dataclass(frozen=True)
class Document:
    """A report with its verdict lines, and where in it each of these starts."""

    words: tuple[str, ...]
    verdict_starts: tuple[int, ...]


def vocabulary() -> list[str]:
    """Every word that the generator can write, sorted."""
    phrases: list[str] = [*PLAIN, *REVERSED, *FILLERS, *LINKS]
    groups = [*NOUNS.values(), *COMMON_OPINIONS.values(), *FILLER_WORDS.values()]
    groups += [words for by_verdict in OWN_OPINIONS.values() for words in by_verdict.values()]
    phrases += [word for group in groups for word in group]
    phrases += [*NOUNS, *VERDICTS.values()]
    words = {word for phrase in phrases for word in phrase.split()}
    return sorted(word for word in words if not word.startswith("{"))


def write_clause(rng: Random, aspect: str, good: bool) -> list[str]:
    """One clause that says of a thing of `aspect` that it was good, or that it was not."""
    is_reversed = rng.random() < REVERSED_SHARE
    frame = rng.choice(REVERSED if is_reversed else PLAIN)
    opinions = OWN_OPINIONS[aspect] if rng.random() < OWN_SHARE else COMMON_OPINIONS
    opinion = rng.choice(opinions[good != is_reversed])
    return frame.format(noun=rng.choice(NOUNS[aspect]), opinion=opinion).split()


def write_filler(rng: Random) -> list[str]:
    """A sentence without an opinion."""
    words = {slot: rng.choice(choices) for slot, choices in FILLER_WORDS.items()}
    return rng.choice(FILLERS).format(**words).split()


def join_clauses(rng: Random, clauses: Sequence[list[str]]) -> list[str]:
    """Clauses as running text: linked by a conjunction or a full stop, closed by the latter."""
    words = list(clauses[0])
    for clause in clauses[1:]:
        words += [rng.choice(LINKS), *clause]
    return [*words, "."]


def write_report(rng: Random, aspects: Sequence[str]) -> Report:
    """A report with a clause on each of `aspects`, in their order."""
    verdicts = {aspect: rng.choice((True, False)) for aspect in aspects}
    words = join_clauses(rng, [write_clause(rng, aspect, verdicts[aspect]) for aspect in aspects])
    if rng.random() < FILLER_SHARE:
        words = [*write_filler(rng), *words]
    return Report(tuple(words), verdicts)


def write_document(rng: Random, most_aspects: int = MOST_ASPECTS) -> Document:
    """A report, then verdict lines on its aspects in an order of their own."""
    aspects = rng.sample(list(NOUNS), rng.randint(1, most_aspects))
    report = write_report(rng, aspects)
    words = list(report.words)
    starts: list[int] = []
    for aspect in rng.sample(aspects, len(aspects)):
        starts.append(len(words))
        words += [aspect, VERDICTS[report.verdicts[aspect]], "."]
    return Document(tuple(words), tuple(starts))


def generate_task(split_sizes: Mapping[str, int], seed: int) -> dict[str, list[Example]]:
    """The task's rows by split; no text occurs twice, within a split or across splits."""
    rng = Random(seed)
    seen: set[str] = set()
    return {name: _draw_examples(rng, size, seen) for name, size in split_sizes.items()}


def write_task_report(rng: Random) -> Report:
    """A report on as many aspects as there can be, the task's two among them."""
    others = [aspect for aspect in NOUNS if aspect not in TASK_ASPECTS]
    aspects = [*TASK_ASPECTS, *rng.sample(others, MOST_ASPECTS - len(TASK_ASPECTS))]
    rng.shuffle(aspects)
    return write_report(rng, aspects)


def label_report(report: Report) -> int:
    """1 where the task's two aspects were both good or both poor, else 0."""
    first, second = (report.verdicts[aspect] for aspect in TASK_ASPECTS)
    return int(first == second)


def _draw_examples(rng: Random, size: int, seen: set[str]) -> list[Example]:
    """`size` rows whose texts are not in `seen`, which then holds them too."""
    examples: list[Example] = []
    while len(examples) < size:
        report = write_task_report(rng)
        text = " ".join(report.words)
        if text not in seen:
            seen.add(text)
            examples.append({"text": text, "label": label_report(report)})
    return examples


def write_rows(path: Path, rows: Iterable[Example]) -> None:
    """Write rows to `path` as JSON lines."""
    lines = (json.dumps(row) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the task's splits into the folder named on the command line."""
    parser = argparse.ArgumentParser(description="Write the demo task as JSON lines.")
    parser.add_argument("out", type=Path, help="folder for train.jsonl and validation.jsonl")
    out: Path = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in generate_task(TASK_SPLITS, TASK_SEED).items():
        write_rows(out / f"{name}.jsonl", rows)


if __name__ == "__main__":
    main()
