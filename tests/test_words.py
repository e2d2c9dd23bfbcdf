"""The package speaks the field's words: names that it had of its own do not come back.

Identifiers and modules only, by the syntax tree; ordinary words in prose are free.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import ranks

# What each is called now: CONTRIBUTING.md, "Rooms", and docs/design.md.
OWN_WORDS = frozenset(
    {
        *("Keeper", "Attempt", "bring", "bring_together", "Whole", "judge", "Sites", "take_away"),
        *("whereabouts", "reached", "First", "Other", "Roll", "blame", "together", "Server"),
        *("Ranks", "SpikeAlarm", "hear", "Share", "become", "travelling", "stay", "relay", "door"),
        *("meet", "visit", "grants", "mend", "told", "telling", "Word", "Held", "Published"),
        *("unfinished", "recognise", "LocalPart", "Parts", "PromptSettings", "marks"),
    }
)
# A word of a test's own, or one that means what it says.
ALLOWED = {
    "ptv2_scale/launchers/slurm_script.py": {"together"},
    "tests/backbones/glm_classic/test_model.py": {"together"},
    "tests/tasks/test_heads.py": {"together"},
    "tests/checkpoint/test_memory.py": {"marks"},  # pytest's
}
FILES = sorted(
    path
    for folder in ("ptv2_scale", "tests", "benchmarks")
    for path in (ranks.CHECKOUT / folder).rglob("*.py")
)


def names(tree: ast.AST) -> Iterator[str]:
    """Names that a module makes, imports, or calls arguments by."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.arg) or isinstance(node, ast.keyword) and node.arg:
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield from (node.name.rpartition(".")[2], node.asname or "")


def own_words(path: Path) -> set[str]:
    found = {path.stem.removeprefix("test_"), *names(ast.parse(path.read_text()))}
    known = ALLOWED.get(path.relative_to(ranks.CHECKOUT).as_posix(), set())
    return {name.strip("_") for name in found} & OWN_WORDS - known


@pytest.mark.parametrize("folder", ["ptv2_scale", "tests", "benchmarks"])
def test_no_word_of_its_own(folder: str) -> None:
    files = [path for path in FILES if path.is_relative_to(ranks.CHECKOUT / folder)]
    assert files
    assert {str(path): words for path in files if (words := own_words(path))} == {}


def test_words_are_found(tmp_path: Path) -> None:
    path = ranks.CHECKOUT / "tests" / "test_words.py"
    tree = ast.parse("class Keeper:\n    def blame(self, told): self._stay = travelling(mend=1)\n")
    assert {name.strip("_") for name in names(tree)} & OWN_WORDS == {
        *("Keeper", "blame", "told", "stay", "mend")
    }
    assert own_words(path) == set()
