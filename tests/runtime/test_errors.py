"""The guess at what a mistyped word meant."""

from __future__ import annotations

import pytest

from ptv2_scale.runtime.errors import did_you_mean


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("lenght", " Did you mean 'length'?"),
        ("length", " Did you mean 'length'?"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_did_you_mean(word: str, said: str) -> None:
    assert did_you_mean(word, ["encoder", "length", "layers"]) == said
    assert did_you_mean(word, []) == ""
