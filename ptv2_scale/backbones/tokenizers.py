"""A backbone's tokenizer: classic GLM's published folders by our own code, else transformers'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from ptv2_scale.backbones.glm_classic.tokenizer import glm_tokenizer
from ptv2_scale.backbones.glm_classic.vocabularies import VARIANTS
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import read_json, refuse_pointer

_VOCABULARIES = ("*.json", "*.txt", "*.model", "*.bpe", "*.vocab", "*.tiktoken")


def load_tokenizer(folder: Path, trust_remote_code: bool) -> Any:
    """The tokenizer of a folder.

    Args:
        folder: of a backbone, or of a tokenizer alone.
        trust_remote_code: allow the folder's own Python code; never run for a classic GLM.

    Returns:
        One of transformers' tokenizers.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    _refuse_pointers(folder)
    settings = _settings(folder)
    kind = str(settings.get("tokenizer_class"))
    try:
        if kind in VARIANTS:
            return glm_tokenizer(folder, kind, settings)
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except (UserError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of the tokenizers' Rust code is no Exception
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{folder}: no tokenizer could be loaded from here ({reason}). Name another folder in"
            " backbone.tokenizer."
        ) from None


def _refuse_pointers(folder: Path) -> None:
    """Refuse files of a tokenizer that Git LFS has not fetched; those that nobody reads may be."""
    patterns = ("*.json",) if (folder / "tokenizer.json").is_file() else _VOCABULARIES
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
        if path.is_file():
            refuse_pointer(path)


def all_tokens(tokenizer: Any) -> dict[str, int]:
    """Tokens of a tokenizer and their ids; none where it cannot say."""
    try:
        return {str(token): int(number) for token, number in tokenizer.get_vocab().items()}
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # as above; whoever encodes a text says what is wrong
        return {}


def spelled(tokenizer: Any, number: int) -> str:
    """A token's text, by its id."""
    names = {known: token for token, known in all_tokens(tokenizer).items()}
    return names.get(number, "a token")


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return {}
    found = read_json(path)
    return found if isinstance(found, dict) else {}
