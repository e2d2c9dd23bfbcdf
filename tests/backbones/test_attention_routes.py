"""Which route a backbone's attention takes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import BIDIRECTIONAL, CAUSAL, save_backbone

from ptv2_scale.backbones.attention_routes import choose_route, describe_route
from ptv2_scale.backbones.load import load_backbone, open_backbone
from ptv2_scale.runtime.errors import UserError


@pytest.mark.parametrize("kind", [*BIDIRECTIONAL, *CAUSAL])
def test_a_route_serves_all_calls_of_a_backbone_or_is_refused(kind: str, tmp_path: Path) -> None:
    files = open_backbone(str(save_backbone(kind, tmp_path)))
    assert choose_route("auto", files.family, files.config) == "sdpa"
    assert choose_route("sdpa", files.family, files.config) == "sdpa"
    if kind in BIDIRECTIONAL:
        with pytest.raises(UserError, match="not all of its attention is causal. Allowed: auto, s"):
            choose_route("causal", files.family, files.config)
    elif kind == "gemma2":
        with pytest.raises(UserError, match="soft-capped"):
            choose_route("causal", files.family, files.config)
    else:
        assert choose_route("causal", files.family, files.config) == "causal"
    if kind.startswith("deberta"):
        with pytest.raises(UserError, match="a matrix in any case. Allowed: auto, sdpa."):
            choose_route("flex", files.family, files.config)
    else:
        assert choose_route("flex", files.family, files.config) == "flex"


def test_a_gemma2_without_a_cap_is_served(tmp_path: Path) -> None:
    folder = save_backbone("gemma2", tmp_path, attn_logit_softcapping=None)
    files = open_backbone(str(folder))
    assert choose_route("causal", files.family, files.config) == "causal"


def test_a_loaded_backbone_says_its_route_to_transformers(tmp_path: Path) -> None:
    folder = save_backbone("llama", tmp_path)
    assert load_backbone(folder).config._attn_implementation == "ptv2_prefix"
    causal = load_backbone(folder, attention="causal")
    assert causal.config._attn_implementation == "ptv2_prefix_causal"
    with pytest.raises(UserError, match=r"backbone\.attention: found 'flash'"):
        load_backbone(folder, attention="flash")  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "said"), [("llama", 0), ("mistral", 1)])
def test_what_a_route_leaves_out_is_said(kind: str, said: int, tmp_path: Path) -> None:
    files = open_backbone(str(save_backbone(kind, tmp_path)))
    assert describe_route("sdpa", files.family, files.config) == []
    (line,) = describe_route("causal", files.family, files.config)
    assert line.startswith("attention: causal, without a mask; texts padded on the left have one")
    assert line.count("4 tokens or more in layers with a window") == said
