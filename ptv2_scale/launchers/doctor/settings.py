"""Checks of a recipe by itself: what all ranks would refuse, whatever their hosts have."""

from __future__ import annotations

from collections.abc import Sequence

from ptv2_scale.config import RunConfig
from ptv2_scale.launchers.doctor.finding import Finding
from ptv2_scale.model.readiness import RankCounts, check_recipe, is_here, open_ready
from ptv2_scale.runtime.errors import UserError


def check_settings(config: RunConfig, slots: Sequence[int]) -> list[Finding]:
    """The recipe can run on so many ranks, as far as this host knows.

    Args:
        config: the recipe.
        slots: ranks of each host.
    """
    ranks = RankCounts.of(slots)
    check = open_ready if is_here(config) else check_recipe
    try:
        check(config, ranks)
    except UserError as error:
        return [Finding("settings", "FAIL", line) for line in str(error).splitlines()]
    text = f"batches, DeepSpeed's JSON, trackers and lengths fit {ranks.world} ranks"
    return [Finding("settings", "ok", text)]
