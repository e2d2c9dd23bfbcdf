"""The arena of hostile input, and the count of what was tried."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from arena import SECRET, Arena, Tally

_TALLY = pytest.StashKey[Tally]()


@pytest.fixture(scope="session")
def tally(pytestconfig: pytest.Config) -> Tally:
    return pytestconfig.stash.setdefault(_TALLY, Tally())


@pytest.fixture(scope="module")
def arena(tally: Tally, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """A fresh arena, in which this process stands while a module's tests run."""
    made = Arena(tmp_path_factory.mktemp("arena"), tally)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.inside)
        patch.setenv("XDG_CACHE_HOME", str(made.inside / "cache"))
        patch.setenv("HF_TOKEN", SECRET)
        yield made


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    tally = config.stash.get(_TALLY, Tally())
    for kind, counts in tally.as_json().items():
        terminalreporter.write_line(
            f"hostile {kind}: {counts['tried']} tried, {counts['refused']} refused"
        )
    target = config.getoption("--tally")
    if target:
        Path(target).write_text(json.dumps(tally.as_json(), indent=1) + "\n")
