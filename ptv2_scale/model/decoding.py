"""What is asked of a model that writes text: how long, by which strategy, for which rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ptv2_scale.backbones.sampling import Sampling
from ptv2_scale.runtime.errors import UserError


@dataclass(frozen=True)
class Beams:
    """Beam search, as transformers has it.

    Attributes:
        number: beams of a text.
        length_penalty: power of the length by which an answer's log-likelihood is divided.
    """

    number: int
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        """Refuse fewer than one beam: a `UserError`."""
        if self.number < 1:
            raise UserError(f"num_beams: found {self.number}, allowed: 1 or more.")


@dataclass(frozen=True)
class Decoding:
    """How answers are written.

    Attributes:
        max_new_tokens: of an answer.
        strategy: None: the likeliest token each time.
    """

    max_new_tokens: int = 64
    strategy: Sampling | Beams | None = None

    def __post_init__(self) -> None:
        """Refuse answers without a token: a `UserError`."""
        if self.max_new_tokens < 1:
            raise UserError(f"max_new_tokens: found {self.max_new_tokens}, allowed: 1 or more.")


class Written(NamedTuple):
    """An answer.

    Attributes:
        tokens: without the token that ends it.
        finished: whether that token came; else there was no room for more.
    """

    tokens: list[int]
    finished: bool


@dataclass(frozen=True)
class Request:
    """What is to be written behind a batch of texts.

    Attributes:
        end: the token that ends an answer; None: there is none.
        decoding: how tokens are chosen.
        rows: number of each text, which sampling draws by; None: they are counted from 0.
        synced: whether all ranks go on until the last of them has finished, as they must where
            they share the weights.
    """

    end: int | None
    decoding: Decoding = Decoding()
    rows: Sequence[int] | None = None
    synced: bool = False


def chosen_strategy(
    *,
    num_beams: int | None = None,
    length_penalty: float | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
) -> Sampling | Beams | None:
    """The strategy that some settings name; without any, the likeliest token each time.

    Raises:
        UserError: settings of beams and of sampling, or values that are not allowed.
    """
    beams = _given(num_beams=num_beams, length_penalty=length_penalty)
    drawn = _given(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    if beams and drawn:
        raise UserError(
            f"{next(iter(beams))} and {next(iter(drawn))}: a beam search draws nothing. Leave one"
            " of them out."
        )
    if length_penalty is not None and num_beams is None:
        raise UserError("length_penalty: is of a beam search. Give num_beams, too.")
    if num_beams is not None:
        return Beams(num_beams, 1.0 if length_penalty is None else length_penalty)
    return Sampling(**drawn) if drawn else None


def _given(**settings: Any) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}
