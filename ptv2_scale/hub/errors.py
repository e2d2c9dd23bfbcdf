"""What the hub's libraries fail with, as one message for people.

The libraries' own words are not quoted: they may hold addresses, and those a password.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from ptv2_scale.runtime.errors import UserError, did_you_mean

FETCH_FIRST = "Run `ptv2-scale fetch RECIPE` first (--hostfile FILE: on all its hosts)"

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NO_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS)
_LICENCE = "accept its licence on its page on the hub, and set HF_TOKEN to a token of that account"


class UnreachableError(UserError):
    """The hub did not answer, or must not be asked."""


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn what the hub's libraries raise into a `UserError`.

    Args:
        what: was asked for.
    """
    try:
        yield
    except (UserError, KeyboardInterrupt, SystemExit):
        raise
    except Exception as error:
        raise _explain(what, error) from None


def _explain(what: str, error: Exception) -> UserError:
    from huggingface_hub import errors as hub

    chain = list(_chain(error))
    number = next((one.errno for one in chain if isinstance(one, OSError) and one.errno), None)
    if number in _NO_ROOM:
        return _no_room(what)
    if number in _NO_WRITE:
        return UserError(f"{what}: the cache cannot be written ({_home()}). Set HF_HOME=FOLDER.")
    for one in chain:
        if isinstance(one, hub.GatedRepoError):
            return UserError(f"{what}: is gated: {_LICENCE}.")
        if isinstance(one, hub.RevisionNotFoundError):
            return UserError(f"{what}: the hub has it, but no such branch, tag or commit.")
        if isinstance(one, hub.HfHubHTTPError):
            return _by_status(what, one.response.status_code)
        if isinstance(one, hub.HFValidationError):
            return UserError(f"{what}: not a folder here, and not a name that the hub could have.")
    return _other(what, chain)


def _by_status(what: str, status: int) -> UserError:
    if status == 404 or status == 401:
        return UserError(
            f"{what}: the hub has nothing of this name, or not for everyone ({status}). Look at the"
            " name, OWNER/NAME; if it is private, set HF_TOKEN to a token that may read it."
            + did_you_mean(what.split()[0], _known())
        )
    if status == 403:
        return UserError(f"{what}: the hub refuses it to this account (403): {_LICENCE}.")
    return UnreachableError(f"{what}: the hub answered with the error {status}. Try again later.")


def _other(what: str, chain: list[BaseException]) -> UserError:
    names = {type(one).__name__ for one in chain}
    if "OfflineModeIsEnabled" in names:
        return UnreachableError(
            f"{what}: this host's cache does not have all of it, and HF_HUB_OFFLINE forbids to ask"
            " the hub."
        )
    if {"ConnectError", "ConnectTimeout", "ReadTimeout", "ProxyError", "ConnectionError"} & names:
        return UnreachableError(
            f"{what}: the hub cannot be reached from here. Where there is a proxy, put HTTPS_PROXY"
            " into .deepspeed_env; where there is a mirror, HF_ENDPOINT."
        )
    return UserError(f"{what}: could not be had from the hub ({', '.join(sorted(names))}).")


def _no_room(what: str) -> UserError:
    return UserError(
        f"{what}: does not fit on the disk of the cache ({_home()}). Make room, or set"
        " HF_HOME=FOLDER."
    )


def _known() -> list[str]:
    """Names in this host's cache."""
    from huggingface_hub import constants

    folders = Path(constants.HF_HUB_CACHE).glob("*s--*")
    return [path.name.partition("--")[2].replace("--", "/") for path in folders]


def _home() -> str:
    from huggingface_hub import constants

    return str(constants.HF_HOME)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
