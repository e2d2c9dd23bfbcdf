"""What a rank of a run opens by itself, before it works with the others."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from ptv2_scale.checkpoint.compatibility import RunContent
from ptv2_scale.engine.agreement import content_of
from ptv2_scale.engine.automatic import Resolved
from ptv2_scale.model.readiness import RankCounts, open_ready
from ptv2_scale.model.setup import EncodedSplit, Setup


@dataclass(frozen=True)
class Opened:
    """A recipe with its data, which each rank opens by itself.

    Attributes:
        setup: what the recipe names.
        train: the training split.
        validation: the split that decides which checkpoint is best.
        content: what is read, to be compared.
        began: `time.perf_counter()` at the start.
        chosen: what ranks have chosen for keys that say `auto`, as key=value.
    """

    setup: Setup
    train: EncodedSplit
    validation: EncodedSplit
    content: RunContent
    began: float
    chosen: tuple[str, ...] = ()


def open_recipe(resolved: Resolved) -> Opened:
    """Open a recipe's backbone, tokenizer and data.

    Raises:
        UserError: something is missing, wrong, or does not go together.
    """
    began = time.perf_counter()
    setup = open_ready(resolved.config, RankCounts.of_environment(os.environ))
    train, validation = setup.split("train"), setup.split("validation")
    content = content_of(setup, {"train": train, "validation": validation})
    return Opened(setup, train, validation, content, began, resolved.chosen)
