"""What a run is, beside its recipe and its backbone's weights: digests of all that it reads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

CONFIG, TOKENIZER = "the backbone's config.json", "the tokenizer"  # as messages name them


@dataclass(frozen=True)
class RowsDigest:
    """The rows of a split as they were read, in their order.

    Attributes:
        examples: number of examples they became.
        sha256: of their token ids and answers, in hex.
    """

    examples: int
    sha256: str

    @classmethod
    def of(cls, digests: Sequence[bytes]) -> RowsDigest:
        """From a digest of each example."""
        return cls(len(digests), hashlib.sha256(b"".join(digests)).hexdigest())


@dataclass(frozen=True)
class RunIdentity:
    """What a run's numbers depend on, beside recipe and weights.

    What is empty is not known: runs of 0.1.0 have stored nothing of it.

    Attributes:
        config: of the settings in the backbone's config.json.
        tokenizer: of what the tokenizer makes of its words.
        texts: of what else it does to texts.
        rows: of each split that was read, by its name.
    """

    config: str = ""
    tokenizer: str = ""
    texts: str = ""
    rows: dict[str, RowsDigest] = field(default_factory=dict)

    def differences(self, other: RunIdentity) -> list[str]:
        """What is known of both and differs, but for rows: CONFIG or TOKENIZER."""
        pairs = (
            (CONFIG, self.config, other.config),
            (TOKENIZER, self.tokenizer, other.tokenizer),
            (TOKENIZER, self.texts, other.texts),
        )
        found = (name for name, one, two in pairs if one and two and one != two)
        return list(dict.fromkeys(found))
