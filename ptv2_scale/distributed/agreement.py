"""Ranks compare what they have read, each from its own host's files.

ZeRO-3 puts one backbone together from what every host has read: two hosts with other files of the
same shapes would train on a model that is neither, without a word.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass

from ptv2_scale.distributed.ranks import RankContext, gather
from ptv2_scale.runtime.errors import UserError


@dataclass(frozen=True)
class Fact:
    """Something that every rank must have alike.

    Attributes:
        value: what is compared: a digest, or a version.
        place: where this rank has it from, for messages; empty: nowhere in particular.
    """

    value: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.value[:24]} ({self.place})" if self.place else self.value[:24]


_NOTHING = Fact("none")


def check_agreement(facts: Mapping[str, Fact], ranks: RankContext) -> None:
    """Refuse ranks that have read different things; every rank calls it.

    Args:
        facts: by what a message calls them, "the tokenizer"; what others follow from comes first.
        ranks: where this process stands.

    Raises:
        UserError: on every rank alike; names the hosts, what differs and its files.
    """
    everyone = gather((socket.gethostname(), dict(facts)), ranks)
    first_host, first = everyone[0]
    for rank, (host, other) in enumerate(everyone):
        for name in {**first, **other}:
            mine, theirs = first.get(name, _NOTHING), other.get(name, _NOTHING)
            if mine.value != theirs.value:
                raise UserError(
                    f"{host} (rank {rank}) and {first_host} (rank 0) differ in {name}: {theirs} and"
                    f" {mine}. All ranks need the same: copy it to every host, or put it where all"
                    " hosts see it."
                )
