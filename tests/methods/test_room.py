"""What is said of a text that is too long: of the keys that have to do with it, and no others."""

from __future__ import annotations

import pytest
from tiny import config_of

from ptv2_scale.backbones.families import family_of
from ptv2_scale.config import HeadOnly, Prefix, PromptTuning
from ptv2_scale.methods.registry import build_method
from ptv2_scale.runtime.errors import UserError


def check(
    kind: str, section: Prefix | HeadOnly | PromptTuning, max_length: int, **changes: object
) -> None:
    config = config_of(kind, **changes)
    build_method(section, family_of(config, ""), config).check_length(max_length)


def said(kind: str, section: Prefix | HeadOnly) -> str:
    with pytest.raises(UserError) as caught:
        check(kind, section, 2000)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "section"),
    [
        ("glm_classic", Prefix(length=100)),  # whose prefix takes no room of the table
        ("bert", Prefix(length=100, positions="keep")),
        ("bert", HeadOnly(method="none")),
    ],
)
def test_a_text_that_is_too_long_by_itself(kind: str, section: Prefix | HeadOnly) -> None:
    found = said(kind, section)
    assert found.startswith("task.max_length: 2000 text tokens are longer than ")
    assert "prefix" not in found
    assert "prompt." not in found
    room = int(found.rpartition(" to ")[2].rstrip("."))
    assert f"room for {room}. Lower task.max_length to {room}." in found
    check(kind, section, room)


def test_a_prefix_that_takes_positions_is_counted() -> None:
    found = said("bert", Prefix(length=100))
    assert found.startswith(
        "prompt.length and task.max_length: 100 prefix tokens and 2000 text tokens are longer than"
    )


@pytest.mark.parametrize("kind", ["phi3", "mistral", "gemma2", "gemma3_text", "modernbert"])
def test_no_window_is_too_short_for_a_prefix(kind: str) -> None:
    """Every query sees the prefix, whatever a window hides of the text."""
    window = {"local_attention": 16} if kind == "modernbert" else {"sliding_window": 16}
    check(kind, Prefix(length=100), 2000, **window)


def test_a_window_hides_a_prompt_of_embeddings_only_where_every_layer_has_one() -> None:
    prompt = PromptTuning(method="prompt", length=10)
    check("gemma2", prompt, 2000, sliding_window=16)
    check("modernbert", prompt, 2000, local_attention=16)
    check("mistral", prompt, 6, sliding_window=16)
    with pytest.raises(
        UserError, match=r"10 \+ 7 tokens are longer than .* of 16, which would hide"
    ):
        check("mistral", prompt, 7, sliding_window=16)
