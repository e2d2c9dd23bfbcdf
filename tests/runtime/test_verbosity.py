"""How much is said: by -q and -v, and by the environment on ranks that a command starts."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from ptv2_scale.cli import main
from ptv2_scale.runtime.progress import Progress
from ptv2_scale.runtime.verbosity import ENVIRONMENT, chosen, set_up_logging


@pytest.fixture(autouse=True)
def _levels() -> Iterator[None]:
    loggers = [logging.getLogger(), logging.getLogger("DeepSpeed")]
    before = [one.level for one in loggers]
    yield
    for one, level in zip(loggers, before, strict=True):
        one.setLevel(level)


@pytest.mark.parametrize(
    ("option", "verbosity", "level"),
    [("-q", "quiet", logging.ERROR), ("-v", "verbose", logging.INFO)],
)
def test_an_option_reaches_logging_and_the_ranks(option: str, verbosity: str, level: int) -> None:
    assert main(["inspect", "nosuch.yaml", option]) == 2
    assert (chosen(), os.environ[ENVIRONMENT]) == (verbosity, verbosity)
    assert logging.getLogger().level == level
    assert (os.environ.get("TQDM_DISABLE") == "1") == (verbosity == "quiet")


def test_without_an_option_warnings_are_shown() -> None:
    assert chosen() == "normal"
    os.environ[ENVIRONMENT] = "loud"
    assert chosen() == "normal"
    set_up_logging()
    assert logging.getLogger().level == logging.WARNING


def test_an_error_of_input_has_its_traceback_only_when_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["inspect", "nosuch.yaml"]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert main(["inspect", "nosuch.yaml", "-v"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.splitlines()[-1] == "ptv2-scale: nosuch.yaml: no such file."


def test_quiet_progress(capsys: pytest.CaptureFixture[str]) -> None:
    Progress("batches")(2, 2)
    assert "2 of 2 batches" in capsys.readouterr().err
    os.environ[ENVIRONMENT] = "quiet"
    Progress("batches")(2, 2)
    assert capsys.readouterr().err == ""
