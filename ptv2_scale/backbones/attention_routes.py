"""The routes that attention can take behind a prefix, and the one that a backbone takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.runtime.errors import UserError

Route = Literal["sdpa", "causal", "flex"]

# Names of attention functions in transformers. With "sdpa" in one, transformers would refuse
# Gemma 2 and DeBERTa, which its own sdpa cannot attend for; with "flash" in it, it would fetch a
# kernel.
IMPLEMENTATIONS: Mapping[Route, str] = {
    "sdpa": "ptv2_prefix",
    "causal": "ptv2_prefix_causal",
    "flex": "ptv2_prefix_flex",
}
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
    reason = _REFUSALS[route](family, config)
    if reason is None:
        return route
    serve = [one for one, refused in _REFUSALS.items() if refused(family, config) is None]
    raise UserError(
        f"backbone.attention: {route} does not serve this {family.name}: {reason}. Allowed: auto,"
        f" {', '.join(serve)}."
    )


def describe_route(route: Route, family: Family, config: Config) -> list[str]:
    """Lines for people: what a route serves, where it does not serve every call."""
    if route == "sdpa":
        return []
    if route == "flex":
        return ["attention: FlexAttention, on GPUs, where attention has no dropout of its own"]
    line = "attention: causal, without a mask; texts padded on the left have one"
    window = family.window(config)
    if window is not None:
        line += f", and so have texts of {window} tokens or more in layers with a window of them"
    return [line]


def _nothing(family: Family, config: Config) -> str | None:
    return None


def _not_causal(family: Family, config: Config) -> str | None:
    """Why causal attention alone does not say what a backbone's tokens see, or None."""
    if {stack.slot for stack in family.stacks} != {"decoder"} or family.positions == "blocks":
        return "not all of its attention is causal"
    if getattr(config, "attn_logit_softcapping", None):
        return "its logits are soft-capped (attn_logit_softcapping), which no fused kernel does"
    return None


def _matrix_of_scores(family: Family, config: Config) -> str | None:
    """Why nothing is gained by reading scores one by one, or None."""
    if family.disentangled:
        return "its scores of relative positions follow from the text, and are a matrix in any case"
    return None


_REFUSALS: Mapping[Route, Callable[[Family, Config], str | None]] = {
    "sdpa": _nothing,
    "causal": _not_causal,
    "flex": _matrix_of_scores,
}
