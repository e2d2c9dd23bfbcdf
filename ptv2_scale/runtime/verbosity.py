"""How much a command says; ranks that it starts, on any host, learn it from the environment."""

from __future__ import annotations

import logging
import os
from typing import Literal

ENVIRONMENT = "PTV2_SCALE_VERBOSITY"
Verbosity = Literal["quiet", "normal", "verbose"]
_LEVELS: dict[Verbosity, int] = {
    "quiet": logging.ERROR,
    "normal": logging.WARNING,
    "verbose": logging.INFO,
}


def choose(verbosity: Verbosity) -> None:
    """Let this process and those that it starts say so much."""
    os.environ[ENVIRONMENT] = verbosity


def chosen() -> Verbosity:
    """What was chosen; "normal" where nothing was."""
    value = os.environ.get(ENVIRONMENT)
    return next((one for one in _LEVELS if one == value), "normal")


def set_up_logging() -> None:
    """Show log messages from the chosen level on; progress bars are off where it is "quiet"."""
    verbosity = chosen()
    libraries = "info" if verbosity == "verbose" else "error"
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", libraries)
    os.environ.setdefault("DATASETS_VERBOSITY", libraries)
    if verbosity == "quiet":
        os.environ.setdefault("TQDM_DISABLE", "1")
    logging.basicConfig(format="%(levelname)s: %(message)s")
    logging.getLogger().setLevel(_LEVELS[verbosity])
    # DeepSpeed would print its whole configuration.
    logging.getLogger("DeepSpeed").setLevel(_LEVELS[verbosity])
