"""Paths with `~` and variables: as a shell and Python's own functions expand them."""

from __future__ import annotations

import getpass
import os
import subprocess

import pytest

from ptv2_scale.runtime.paths import expand_path

ENVIRON = {"HOME": "/home/me", "DATA": "/data/a b", "EMPTY": "", "TILDE": "~"}


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNSET", raising=False)
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "text",
    ["~", "~/x", "~root/x", f"~{getpass.getuser()}/x", "$HOME/x", "${DATA}/x", "$DATA/$DATA", "a/~"]
    + ["x$", "a/$EMPTY", "$TILDE/x", "./~x", "plain", "google/t5-v1_1-xxl", "zero3"],
)
def test_as_a_shell_does(text: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -f; IFS=; printf %s {text}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert expand_path(text) == done.stdout


@pytest.mark.parametrize("text", ["~/x", "$HOME/x", "${DATA}/$HOME", "x$", "$", "$/x", "${", "a~b"])
def test_as_python_does(text: str) -> None:
    assert expand_path(text) == os.path.expandvars(os.path.expanduser(text))


@pytest.mark.parametrize("text", ["https://host/$UNSET", "s3://bucket/~/x", "hf://~x"])
def test_an_address_stays(text: str) -> None:
    assert expand_path(text) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("~nobody-here/x", "there is no user 'nobody-here'; write './~nobody-here'"),
        ("$UNSET/x", "the variable UNSET is not set"),
        ("a/${UNSET}", "the variable UNSET is not set"),
        ("${}", "the variable  is not set"),
        ("$EMPTY", "nothing is left of it"),
    ],
)
def test_what_stands_for_nothing_is_a_mistake(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="^" + said.replace("$", r"\$")):
        expand_path(text)
