"""Classic GLM's tokenizers, made from the published files without the published code.

Four vocabularies were published: GPT-2's BPE (2B, 10B), RoBERTa's BPE (roberta-large), BERT's
wordpieces (base, large, 410M, 515M) and the sentencepiece model cog-pretrain (Chinese). Each is
transformers' own tokenizer with GLM's special tokens behind the vocabulary.

Ids come from the folder's added_tokens.json, and where there is none from the order of the original
training code. Where the published classes are silent, that code decides:

- A mask token of the BPE vocabularies takes the spaces on its left with it, and leaves those on its
  right to the text. (The published class did otherwise, and not the same with every version of
  transformers.)
- The published GPT-2 and Chinese classes refuse pairs of texts. Here a pair is
  [CLS] A [SEP] B <|endoftext|>.

The folders on the hub were not at hand when this was written: that the special tokens of GPT-2's
vocabulary are spelled [SEP] and [UNK] is the original code's word, so both cases are understood.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from ptv2_scale.backbones.glm_classic.vocabularies import (
    LONG,
    SENTENCE,
    VARIANTS,
    GLMChineseTokenizer,
    Variant,
    pieces_of,
)
from ptv2_scale.runtime.errors import UserError


def glm_tokenizer(folder: Path, kind: str, settings: Mapping[str, Any] | None = None) -> Any:
    """A tokenizer of classic GLM from a published folder; no code of the folder is run.

    Args:
        folder: has the vocabulary files, and perhaps added_tokens.json.
        kind: the published class, a key of `VARIANTS`.
        settings: what tokenizer_config.json says; special tokens, sides and lower-casing are read.

    Returns:
        One of transformers' tokenizers. A text becomes [CLS] text <|endoftext|> (BERT: [SEP],
        RoBERTa: <s> text </s>), and what is too long loses its beginning, as published.

    Raises:
        UserError: a vocabulary file is missing, or special tokens have no place at their ids.
    """
    settings = settings or {}
    variant = VARIANTS[kind]
    files = _files(folder, kind)
    added = _added_tokens(folder, variant)
    wanted = _wanted(variant, settings)
    if variant.backend is None:
        return _chinese(folder, files[0], added, wanted, settings)
    backend = variant.backend(files, settings)
    names = _names(folder, wanted, {*backend.get_vocab(), *added})
    _append(folder, backend, added, names["mask"])
    if variant.eos_ends:
        backend.post_processor = _template(backend, names)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **_options(names, added, settings))


def _chinese(
    folder: Path,
    file: str,
    added: Mapping[str, int | None],
    wanted: Mapping[str, str],
    settings: Mapping[str, Any],
) -> GLMChineseTokenizer:
    places = {piece: place for place, piece in enumerate(pieces_of(file))}
    names = _names(folder, wanted, {*places, *added})
    for token in added:
        places.setdefault(token, len(places))
    _check_ids(folder, places, added)
    return GLMChineseTokenizer(
        vocab_file=file,
        added_tokens_decoder={places[token]: AddedToken(token, special=True) for token in added},
        special_tokens_pattern="cls_sep",
        **_options(names, added, settings),
    )


def _files(folder: Path, kind: str) -> list[str]:
    for name in VARIANTS[kind].files:
        if not (folder / name).is_file():
            raise UserError(f"{folder}: {kind} needs the file '{name}', which is not here.")
    return [str(folder / name) for name in VARIANTS[kind].files]


def _options(
    names: Mapping[str, str], added: Mapping[str, int | None], settings: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        **{f"{name}_token": token for name, token in names.items()},
        "truncation_side": settings.get("truncation_side", "left"),
        "padding_side": settings.get("padding_side", "right"),
        "extra_special_tokens": [token for token in added if token not in names.values()],
        # BERT's token types have no place in GLM.
        "model_input_names": ["input_ids", "attention_mask"],
    }


def _wanted(variant: Variant, settings: Mapping[str, Any]) -> dict[str, str]:
    found = dict(variant.names)
    for name in ("cls", "sep", "mask", "eos", "pad"):
        token = settings.get(f"{name}_token")
        if isinstance(token, dict):
            token = token.get("content")
        if isinstance(token, str):
            found[name] = token
    return found


def _names(folder: Path, wanted: Mapping[str, str], known: set[str]) -> dict[str, str]:
    """Special tokens as the vocabulary spells them, without those that it does not have."""
    # [SEP] and [UNK] behind GPT-2's vocabulary are known in both cases.
    spelled = {token.lower(): token for token in known if token.startswith(("[", "<"))}
    found = {
        name: token if token in known else spelled.get(token.lower())
        for name, token in wanted.items()
    }
    for name in ("cls", "mask", "eos", "pad"):
        if name in wanted and found[name] is None:
            raise UserError(
                f"{folder}: {name}_token '{wanted[name]}' is neither in the vocabulary nor in"
                " added_tokens.json, so the files are not of the same tokenizer."
            )
    return {name: token for name, token in found.items() if token is not None}


def _added_tokens(folder: Path, variant: Variant) -> dict[str, int | None]:
    """Special token -> its id, in the order of ids; None: whichever comes next."""
    path = folder / "added_tokens.json"
    if not path.is_file():
        return dict.fromkeys(variant.added)
    try:
        found = {str(token): int(place) for token, place in json.loads(path.read_text()).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: not a JSON object of token and id ({error}).") from None
    return {token: found[token] for token in sorted(found, key=found.__getitem__)}


def _append(folder: Path, backend: Backend, added: Mapping[str, int | None], mask: str) -> None:
    blanks = (mask, SENTENCE, LONG)
    # A wordpiece or BPE mask stands where a word does, so the space before it is the mask's.
    tokens = {token: AddedToken(token, lstrip=token in blanks, special=True) for token in added}
    tokens[mask] = AddedToken(mask, lstrip=True, special=True)
    backend.add_special_tokens(list(tokens.values()))
    _check_ids(folder, {token: backend.token_to_id(token) for token in added}, added)


def _check_ids(
    folder: Path, found: Mapping[str, int | None], wanted: Mapping[str, int | None]
) -> None:
    for token, place in wanted.items():
        if place is not None and found[token] != place:
            raise UserError(
                f"{folder / 'added_tokens.json'}: '{token}' has id {place}, but next in this"
                f" vocabulary is {found[token]}. The two are not of the same tokenizer."
            )


def _template(backend: Backend, names: Mapping[str, str]) -> TemplateProcessing:
    used = {name: names[name] for name in ("cls", "sep", "eos") if name in names}
    between = used.get("sep", "")
    return TemplateProcessing(
        single=f"{used['cls']} $A {used['eos']}",
        pair=" ".join(f"{used['cls']} $A {between} $B {used['eos']}".split()),
        special_tokens=[(token, backend.token_to_id(token)) for token in set(used.values())],
    )
