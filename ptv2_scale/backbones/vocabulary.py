"""Token ids against the rows of a backbone's embedding; without PyTorch.

Words or a pad token that were added to a tokenizer have ids behind the last row, unless the
backbone was resized with it. Looked up, such an id ends a run in the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import read_json

_SHOWN = 3
WAY_OUT = (
    "Use the tokenizer that was published with the backbone (backbone.tokenizer), or save the"
    " backbone anew once model.resize_token_embeddings(len(tokenizer)) has given it the rows"
)


def check_ids(
    inputs: Mapping[str, Sequence[int]],
    tables: Mapping[str, int],
    where: str,
    spelled: Callable[[int], object],
) -> None:
    """Refuse ids that have no row.

    Args:
        inputs: what a text became, by the name of the input.
        tables: rows of the table in which each of these inputs is looked up.
        where: place of the text, for the message.
        spelled: a token id as text.

    Raises:
        UserError: names the place, the token, its id and the number of rows.
    """
    for name in tables.keys() & inputs.keys():
        ids, rows = inputs[name], tables[name]
        if ids and (None in ids or max(ids) >= rows or min(ids) < 0):
            wrong = next(one for one in ids if one is None or not 0 <= one < rows)
            if name != "input_ids":
                raise UserError(
                    f"{where}: the tokenizer gives {name} of {wrong}, and the backbone has"
                    f" {rows} of them. Use the tokenizer that was published with it"
                    " (backbone.tokenizer)."
                )
            token = "no token" if wrong is None else repr(spelled(wrong))
            raise UserError(f"{where}: {without_row(token, wrong, rows)}")


def without_row(token: str, number: int | None, rows: int) -> str:
    """What is wrong with a token that has no row in the embedding, and what to do."""
    return (
        f"{token} has the id {number}, and the backbone's embedding has {rows} rows (0 to"
        f" {rows - 1}). {WAY_OUT}."
    )


def unknown_tokens(vocabulary: Mapping[str, int], rows: int) -> str | None:
    """What to say of a tokenizer's tokens that have no row; None: all have one."""
    beyond = sorted(
        (number, token) for token, number in vocabulary.items() if not 0 <= number < rows
    )
    if not beyond:
        return None
    some = ", ".join(f"{token!r} ({number})" for number, token in beyond[:_SHOWN])
    return (
        f"{len(beyond)} of the tokenizer's {len(vocabulary)} tokens have no row in the backbone's"
        f" embedding of {rows}: {some}{', ...' if len(beyond) > _SHOWN else ''}; a text with one of"
        f" them is refused. {WAY_OUT}"
    )


def embedding_rows(folder: Path) -> int | None:
    """Rows of a backbone's embedding by its config.json; None: it does not say."""
    found = _json(folder / "config.json")
    rows = found.get("vocab_size") if isinstance(found, dict) else None
    return rows if isinstance(rows, int) else None


def vocabulary_of(folder: Path) -> dict[str, int]:
    """Tokens of a tokenizer's folder and their ids, as far as its JSON files have them."""
    return {str(token): number for token, number in _tokens(folder) if isinstance(number, int)}


def pad_token_of(folder: Path) -> str | None:
    """The pad token that a tokenizer's folder names, or None."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        found = _json(folder / name)
        token = found.get("pad_token") if isinstance(found, dict) else None
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str):
            return token
    return None


def _tokens(folder: Path) -> Iterator[tuple[Any, Any]]:
    whole, settings = _json(folder / "tokenizer.json"), _json(folder / "tokenizer_config.json")
    model = whole.get("model") if isinstance(whole, dict) else None
    words = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(words, dict):
        yield from words.items()
    elif isinstance(words, list):  # Unigram: the place is the id
        yield from ((one[0], place) for place, one in enumerate(words) if one)
    added = whole.get("added_tokens") if isinstance(whole, dict) else None
    for one in added if isinstance(added, list) else ():
        if isinstance(one, dict):
            yield one.get("content"), one.get("id")
    later = _json(folder / "added_tokens.json")
    yield from later.items() if isinstance(later, dict) else ()
    decoder = settings.get("added_tokens_decoder") if isinstance(settings, dict) else None
    for number, one in decoder.items() if isinstance(decoder, dict) else ():
        if isinstance(one, dict) and str(number).isdecimal():
            yield one.get("content"), int(number)


def _json(path: Path) -> Any:
    """The content of a file, or None: whoever needs it says what is wrong with it."""
    try:
        return read_json(path) if path.is_file() else None
    except (UserError, OSError):
        return None
