"""Optuna's storages by what a sweep file calls them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from ptv2_scale.runtime.errors import UserError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

_WAIT_S = 60.0  # for other processes that write to an SQLite file
JOURNALS = (".log", ".journal")


def state_url(state: str | None, folder: Path) -> str:
    """The state of a sweep as Optuna and its dashboard take it: a URL, or a journal's file.

    Args:
        state: of the sweep file: a URL, a file, or None.
        folder: of the sweep.
    """
    if state is not None and ("://" in state or Path(state).suffix in JOURNALS):
        return state
    return f"sqlite:///{state or folder / 'sweep.db'}"


def open_storage(url: str, *, make: bool) -> BaseStorage:
    """Open a state; see `state_url`.

    Args:
        url: of the state.
        make: whether a file that is not there is made.

    Raises:
        UserError: Optuna is not installed, there is no such file, or it cannot be opened.
    """
    file = Path(url.removeprefix("sqlite:///"))
    if "://" not in url or url.startswith("sqlite:///"):
        if not make and not file.exists():
            raise UserError(f"{file}: no such file: the sweep has not been started here.")
        file.parent.mkdir(parents=True, exist_ok=True)
    try:
        import optuna
    except ImportError:
        raise UserError(
            "sweep: needs Optuna. Install it: pip install 'ptv2_scale[sweep]'."
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    try:
        return _open(url)
    except Exception as error:  # of as many kinds as there are databases
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"state {url}: cannot be opened: {reason}") from None


def _open(url: str) -> BaseStorage:
    from optuna.storages import JournalStorage, RDBStorage, get_storage
    from optuna.storages.journal import JournalFileBackend

    if "://" not in url:
        return JournalStorage(JournalFileBackend(url))
    if not url.startswith("sqlite:"):
        return get_storage(url)
    arguments = {"connect_args": {"timeout": _WAIT_S}}
    return get_storage(RDBStorage(url, engine_kwargs=arguments))
