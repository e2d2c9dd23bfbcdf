"""What the site adds to the files in docs/: diagrams, help of the commands, links to the source."""

from __future__ import annotations

import argparse
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pymdownx.superfences import fence_code_format

from ptv2_scale.cli.grammar import parser

logger = logging.getLogger("mkdocs.plugins.site")
CHECKOUT = Path(__file__).resolve().parent.parent
COMMANDS = "<!-- help of every command -->"
# A link that leaves docs/: to a module, a recipe, the README.
OUTSIDE = re.compile(r"\[([^]]+)\]\(((?:\.\./)+)([^)#]+)(?:#[^)]*)?\)")


def on_config(config: Any) -> Any:
    """Diagrams: a function, which YAML that is safe to load cannot name."""
    mermaid = {"name": "mermaid", "class": "mermaid", "format": fence_code_format}
    config.mdx_configs["pymdownx.superfences"] = {"custom_fences": [mermaid]}
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """A page as the site shows it."""
    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, "\n".join(helps()))
    return OUTSIDE.sub(lambda link: _outside(link, page.file.src_uri, config.repo_url), markdown)


def helps() -> Iterator[str]:
    """A heading and the help of every command, as `ptv2-scale help COMMAND` prints it."""
    os.environ |= {"COLUMNS": "80", "NO_COLOR": "1"}  # what argparse goes by
    for name, command in _commands().items():
        yield f"## {name}\n\n```text\n{command.format_help()}```\n"


def _commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = (
        action.choices
        for action in parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return dict(found)


def _outside(link: re.Match[str], page: str, repository: str | None) -> str:
    """A link out of docs/: into the repository where the site knows one, else its text alone."""
    text, path = link[1], link[3]
    if not (CHECKOUT / path).exists():
        logger.warning(f"{page}: links to {path}, which does not exist")
    return f"[{text}]({repository.rstrip('/')}/blob/main/{path})" if repository else text
