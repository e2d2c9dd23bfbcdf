"""What a run depends on beside recipe and weights, as digests: see `RunIdentity`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ptv2_scale.data.collate import Example
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import read_json
from ptv2_scale.runtime.run_identity import RunIdentity
from ptv2_scale.tasks.text import encode_texts

# Of config.json: where it was saved and by what, and what no forward pass reads.
_NOT_ARITHMETIC = frozenset(
    {
        *("_name_or_path", "name_or_path", "transformers_version", "architectures", "auto_map"),
        *("dtype", "torch_dtype", "use_cache", "id2label", "label2id", "problem_type"),
        *("task_specific_params", "finetuning_task"),
    }
)
_TEXT = " \u00c9te\u0301 \ufb01n,  A\t\u4e2d\n1.5 "
# What is read of a tokenizer beside what it makes of texts.
_SETTINGS = ("mask_token_id", "truncation_side")
_MOST_WORDS = 20_000  # of a vocabulary: a quarter of a million would take seconds


def identity_of(folder: Path, tokenizer: Any) -> RunIdentity:
    """The identity of a backbone's folder with a tokenizer, without rows."""
    return RunIdentity(
        config=_config_digest(folder / "config.json"),
        tokenizer=_tokenizer_digest(tokenizer),
        texts=_texts_digest(tokenizer),
    )


def example_digests(examples: Iterable[Example]) -> list[bytes]:
    """A digest of each example: its row, what a model reads of it, and its answer."""
    return [hashlib.sha256(_content(one).encode()).digest() for one in examples]


def _content(example: Example) -> str:
    # Checkpoints hold digests of examples that could be of one sequence alone.
    several = f" {example.sequences}" if example.sequences else ""
    scored = f" {example.answers}" if example.answers else ""
    return f"{example.row} {sorted(example.inputs.items())} {example.target!r}{several}{scored}"


def _config_digest(path: Path) -> str:
    settings = read_json(path)
    assert isinstance(settings, dict)  # the backbone has been opened
    read = {key: value for key, value in settings.items() if key not in _NOT_ARITHMETIC}
    return _digest(read)


def _tokenizer_digest(tokenizer: Any) -> str:
    """Of the vocabulary, and of what the tokenizer makes of its words, alone and side by side.

    Not of its files: other files, or another library's version, may well do the same.
    """
    vocabulary = sorted(tokenizer.get_vocab().items())
    words = [word for word, _ in vocabulary[:: len(vocabulary) // _MOST_WORDS + 1]]
    texts = [*words, *(" ".join(words[start : start + 50]) for start in range(0, len(words), 50))]
    encoded = tokenizer(texts, return_attention_mask=False, verbose=False)
    return _digest([vocabulary, sorted(encoded.items()), tokenizer.pad_token_id])


def _texts_digest(tokenizer: Any) -> str:
    """Of what words of the vocabulary do not show: capitals, accents, white space, pairs, cuts."""
    words = " ".join(sorted(tokenizer.get_vocab())[:50])
    made = [_probed(tokenizer, one) for one in ((words.upper(),), (_TEXT,), (_TEXT, "a b"))]
    return _digest([made, [getattr(tokenizer, name, None) for name in _SETTINGS]])


def _probed(tokenizer: Any, texts: tuple[str, ...]) -> Any:
    """What becomes of a text or a pair; None: the tokenizer has no token for what it has not."""
    try:
        return encode_texts(tokenizer, [texts])
    except UserError:
        return None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=repr).encode()).hexdigest()
