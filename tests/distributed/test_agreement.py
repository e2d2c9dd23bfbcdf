"""Facts of several ranks, beside each other, without ranks."""

from __future__ import annotations

import pytest

from ptv2_scale.distributed import agreement
from ptv2_scale.distributed.agreement import Fact, check_agreement
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.runtime.errors import UserError

SAME = {"the version of torch": Fact("2.13.0"), "the recipe": Fact("aa", "r.yaml")}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (SAME, None),
        ({**SAME, "the recipe": Fact("aa", "elsewhere/r.yaml")}, None),
        ({**SAME, "the version of torch": Fact("2.12.1")},
         r"node2 \(rank 1\) and node1 \(rank 0\) differ in the version of torch: 2.12.1"),
        ({**SAME, "the recipe": Fact("bb", "b/r.yaml")},
         r"differ in the recipe: bb \(b/r.yaml\) and aa \(r.yaml\)"),
        ({"the version of torch": Fact("2.13.0")}, r"the recipe: none and aa \(r.yaml\)"),
        ({**SAME, "the weights in b.bin": Fact("cc", "b.bin")},
         r"the weights in b.bin: cc \(b.bin\) and none"),
    ],
)  # fmt: skip
def test_what_two_ranks_have(
    other: dict[str, Fact], message: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [("node1", SAME), ("node2", other)]
    monkeypatch.setattr(agreement, "gather", lambda _, ranks: both)
    if message is None:
        check_agreement(SAME, RankContext.alone())
    else:
        with pytest.raises(UserError, match=message):
            check_agreement(SAME, RankContext.alone())
