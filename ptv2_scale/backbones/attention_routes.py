"""The routes that attention can take behind a prefix, and the one that a backbone takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.runtime.errors import UserError

Route = Literal["sdpa", "causal"]

# Names of attention functions in transformers. With "sdpa" in one, transformers would refuse
# Gemma 2 and DeBERTa, which its own sdpa cannot attend for; with "flash" in it, it would fetch a
# kernel.
IMPLEMENTATIONS: Mapping[Route, str] = {"sdpa": "ptv2_prefix", "causal": "ptv2_prefix_causal"}
# Everywhere, until a GPU has shown that another one is right there (benchmarks/gpu.py).
AUTOMATIC: Route = "sdpa"


def choose_route(asked: Literal["auto"] | Route, family: Family, config: Config) -> Route:
    """The route of a backbone's attention.

    Args:
        asked: `backbone.attention`.
        family: the backbone's.
        config: its configuration.

    Raises:
        UserError: the route that is asked for does not serve this backbone; says why.
    """
    route = AUTOMATIC if asked == "auto" else asked
    reason = _refusal(family, config) if route == "causal" else None
    if reason is not None:
        raise UserError(
            f"backbone.attention: causal does not serve this {family.name}: {reason}. Allowed:"
            " auto, sdpa."
        )
    return route


def describe_route(route: Route, family: Family, config: Config) -> list[str]:
    """Lines for people: what a route serves, where it does not serve every call."""
    if route == "sdpa":
        return []
    line = "attention: causal, without a mask; texts padded on the left have one"
    window = family.window(config)
    if window is not None:
        line += f", and so have texts of {window} tokens or more in layers with a window of them"
    return [line]


def _refusal(family: Family, config: Config) -> str | None:
    """Why causal attention alone does not say what a backbone's tokens see, or None."""
    if {stack.slot for stack in family.stacks} != {"decoder"} or family.positions == "blocks":
        return "not all of its attention is causal"
    if getattr(config, "attn_logit_softcapping", None):
        return "its logits are soft-capped (attn_logit_softcapping), which no fused kernel does"
    return None
