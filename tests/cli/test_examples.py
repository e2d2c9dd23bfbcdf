"""Help that can be relied on: examples parse, name recipes that exist; all commands have help."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

from ptv2_scale import __version__
from ptv2_scale.cli import main, parse, parser
from ptv2_scale.cli.examples import EXAMPLES
from ptv2_scale.cli.grammar import _COMMANDS
from ptv2_scale.config.catalogue import find
from ptv2_scale.runtime import exit_codes

NAMES = [action.__name__ for action in _COMMANDS]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_parses_and_its_recipe_is_there(example: str) -> None:
    program, *words = shlex.split(example.partition(" > ")[0])
    assert (program, parse(words).command) == ("ptv2-scale", words[0])
    for word in words:
        if word.startswith("recipes/"):
            assert find(word).path.is_file()


def said(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit, match="0"):
        main(argv)
    return capsys.readouterr().out


@pytest.mark.parametrize("words", [*([name] for name in NAMES), ["recipes", "copy"], []], ids=str)
def test_help_of_a_command_is_its_own_help(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    printed = said([*words, "--help"], capsys)
    assert said(["help", *words], capsys) == printed
    assert printed.startswith(f"usage: {' '.join(['ptv2-scale', *words])} ")


def test_a_bare_command_prints_the_help_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    text = said([], capsys)
    assert text == parser().format_help()
    assert all(re.search(rf"^    {name} ", text, re.MULTILINE) for name in NAMES)


def test_exit_codes_are_in_every_help(capsys: pytest.CaptureFixture[str]) -> None:
    codes = {value for name, value in vars(exit_codes).items() if name.isupper()}
    for name in ("", *NAMES):
        _, _, listed = said([name, "--help"] if name else [], capsys).partition("exit codes:\n")
        assert {int(code) for code in re.findall(r"^  (\d+) ", listed, re.MULTILINE)} == codes


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said([option], capsys) == f"ptv2-scale {__version__}\n"


def test_help_of_no_command(capsys: Any) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["help", "trane"])
    assert "invalid choice: 'trane'" in capsys.readouterr().err
