"""Ranks compare what they have read before any weight is loaded.

ZeRO-3 puts one backbone together from what every host has read: two hosts with other files of the
same shapes would train on a model that is neither, without a word.
"""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version

from ptv2_scale.backbones.fingerprint import weight_digests
from ptv2_scale.checkpoint.compatibility import RunContent
from ptv2_scale.config.deepspeed import load_deepspeed
from ptv2_scale.distributed.ranks import RankContext, gather
from ptv2_scale.model.identity import example_digests
from ptv2_scale.model.setup import EncodedSplit, Setup
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.run_identity import CONFIG, TOKENIZER, RowsDigest

_PACKAGES = ("ptv2_scale", "torch", "transformers", "tokenizers", "deepspeed")
_ARITHMETIC = ("torch", "transformers", "deepspeed")
# Hosts may keep the same things in other places.


@dataclass(frozen=True)
class Fact:
    """Something that every rank must have alike.

    Attributes:
        value: what is compared: a digest, or a version.
        place: where this rank has it from, for messages.
    """

    value: str
    place: str

    def __str__(self) -> str:
        return f"{self.value[:24]} ({self.place})" if self.place else self.value


_NOTHING = Fact("none", "")
Facts = Mapping[str, Fact]  # by what a message calls it: "the tokenizer"


def versions() -> dict[str, str]:
    """Versions of the libraries whose arithmetic the bits depend on."""
    return {name: version(name) for name in _ARITHMETIC}


def content_of(setup: Setup, splits: Mapping[str, EncodedSplit]) -> RunContent:
    """What a run reads, for its checkpoints."""
    examples = {name: example_digests(split.examples) for name, split in splits.items()}
    rows = {name: RowsDigest.of(digests) for name, digests in examples.items()}
    identity = replace(setup.identity, rows=rows)
    return RunContent(setup.config, setup.fingerprint, identity, examples)


def run_facts(setup: Setup, content: RunContent) -> dict[str, Fact]:
    """What all ranks of a run must have alike."""
    facts = serving_facts(setup)
    for name, rows in content.identity.rows.items():
        place = setup.task.place(name)  # type: ignore[arg-type]
        facts[f"rows in task.{name}"] = Fact(f"{rows.examples} examples {rows.sha256}", place)
    return facts


def serving_facts(setup: Setup) -> dict[str, Fact]:
    """What all ranks that run a backbone must have alike."""
    config, files = setup.config, setup.files
    identity = setup.identity
    # Hosts may keep the same things in other places.
    recipe = config.model_dump(
        mode="json",
        exclude={
            "backbone": {"name", "tokenizer"},
            "task": {"path"},
            "run": True,
            "deepspeed": True,
        },
    )
    facts = {f"version of {name}": Fact(version(name), "") for name in _PACKAGES}
    facts |= {
        "recipe": Fact(_digest(recipe), "the recipe and its overrides"),
        "DeepSpeed configuration": Fact(
            _digest(load_deepspeed(config.deepspeed)), str(config.deepspeed)
        ),
        CONFIG: Fact(identity.config, str(files.folder / "config.json")),
        TOKENIZER: Fact(identity.tokenizer, config.backbone.tokenizer or str(files.folder)),
    }
    for path, digest in weight_digests(files).items():
        facts[f"weights in {path.name}"] = Fact(digest, str(path))
    return facts


def check_agreement(facts: Facts, ranks: RankContext) -> None:
    """Refuse ranks that have read different things; every rank calls it.

    Raises:
        UserError: on every rank alike; names the hosts, what differs and its files.
    """
    everyone = gather((socket.gethostname(), dict(facts)), ranks)
    first_host, first = everyone[0]
    for rank, (host, other) in enumerate(everyone):
        for name in {**first, **other}:  # what others follow from comes first
            mine, theirs = first.get(name, _NOTHING), other.get(name, _NOTHING)
            if mine.value != theirs.value:
                raise UserError(
                    f"{host} (rank {rank}) has another {name} than {first_host} (rank 0):"
                    f" {theirs} there, {mine} here. All ranks need the same: copy it to every host,"
                    " or put it where all hosts see it."
                )


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
