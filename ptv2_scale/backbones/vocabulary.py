"""Token ids against the rows of a backbone's embedding.

Words or a pad token that were added to a tokenizer have ids behind the last row, unless the
backbone was resized with it. Looked up, such an id ends a run in the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ptv2_scale.runtime.errors import UserError

_SHOWN = 3
_WAY_OUT = (
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
            raise UserError(
                f"{where}: {token} has the id {wrong}, and the backbone's embedding has {rows} rows"
                f" (0 to {rows - 1}). {_WAY_OUT}."
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
        f" them is refused. {_WAY_OUT}"
    )
