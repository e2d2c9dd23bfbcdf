"""What runs on a host: one item of the hub is downloaded into its cache.

python -m ptv2_scale.launchers.fetch        the request as JSON on standard input
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from ptv2_scale.hub import HubItem, cached_snapshot, download, pin_revision
from ptv2_scale.launchers.fetch.protocol import Fetched, Message
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.exit_codes import DONE, INVALID_INPUT


def fetch_item(item: HubItem, commit: str | None) -> Fetched:
    """Download an item into this host's cache, and make it the one that ranks find offline."""
    began = time.monotonic()
    pinned = replace(item, revision=commit or item.revision)
    before = cached_snapshot(pinned)
    found = download(pinned, _report_progress)
    pin_revision(item, found.folder)
    return Fetched(found, time.monotonic() - began, found == before)


def _report_progress(done: int, total: int) -> None:
    try:
        Message(done, total).send()
    except OSError:  # nobody listens any more
        _drop_unfinished()
        os._exit(INVALID_INPUT)


def _drop_unfinished() -> None:
    """Remove the parts of files that this process is writing: the hub's libraries start anew."""
    for handle in Path("/proc/self/fd").iterdir():
        path = Path(os.path.realpath(handle))
        if path.suffix == ".incomplete":
            path.unlink(missing_ok=True)


def main() -> int:
    """Answer one request."""
    asked = json.load(sys.stdin)
    # Before the hub's libraries are loaded: they look at the environment once.
    os.environ.update(asked["secret"])
    os.environ.update(HF_HUB_DISABLE_PROGRESS_BARS="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1")
    try:
        fetched = fetch_item(HubItem(**asked["item"]), asked["commit"])
    except UserError as error:
        Message(reason=str(error)).send()
        return INVALID_INPUT
    Message(fetched=fetched).send()
    return DONE


if __name__ == "__main__":
    sys.exit(main())
