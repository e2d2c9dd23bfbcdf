"""Rows become token ids: which columns are read, how two texts are joined, what is cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ptv2_scale.data.rows import PlacedRow, place_of, text_of
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Style, Tokenizer

Inputs = dict[str, list[int]]

READ = ("input_ids", "token_type_ids")  # all else that a tokenizer gives is made by the family
CHUNK = 1000  # rows a tokenizer call: its working memory is many times that of the ids
ROUNDS = 3  # each cut is an estimate from characters; what is still too long is then cut hard


@dataclass(frozen=True)
class TextFormat:
    """What is read of a row.

    Attributes:
        columns: the columns that are read, one or two of them unless there are templates.
        templates: join the columns to one text, such as "{sentence1} {sentence2}", or to two.
        inside: a column that may hold an object with some of the columns.
    """

    columns: tuple[str, ...]
    templates: tuple[str, ...] = ()
    inside: str | None = None

    @property
    def outer(self) -> tuple[str, ...]:
        """Columns that every row itself has."""
        return () if self.inside else self.columns

    def parts(self, row: Mapping[str, object], number: int, style: Style) -> tuple[str, ...]:
        """The texts of a row, with the columns' names before them in the style "named"."""
        values = self.values(row, number)
        if self.templates:
            return tuple(template.format(**values) for template in self.templates)
        if style == "named":
            return tuple(f"{column}: {value}" for column, value in values.items())
        return tuple(values.values())

    def values(self, row: Mapping[str, object], number: int) -> dict[str, str]:
        """The text in each column of a row."""
        if self.inside is not None and isinstance(found := row.get(self.inside), Mapping):
            row = PlacedRow({**row, **found}, place_of(row, number))
        return {column: text_of(row, column, number) for column in self.columns}


def tokenize(
    parts: Sequence[tuple[str, ...]],
    tokenizer: Tokenizer,
    style: Style,
    max_length: int,
    called: Callable[[int], str] = "row {}".format,
) -> tuple[list[Inputs], int]:
    """Token ids of texts, and how many texts were cut to `max_length` tokens.

    In the style "pair" the tokenizer joins two texts in its own way; in "named" they are one text.
    In both, the longer of two texts is cut first: a question keeps its words beside a passage.
    Messages call a text by what `called` gives for its number from 1.

    Raises:
        UserError: a text has no tokens, `max_length` has no room for one, or the tokenizer fails.
    """
    texts = list(parts) if style == "pair" else [(" ".join(text),) for text in parts]
    inputs = encode_texts(tokenizer, texts)
    refuse_empty(inputs, called)
    too_long = [place for place, found in enumerate(inputs) if token_count(found) > max_length]
    if not too_long:
        return inputs, 0
    _check_room(tokenizer, parts[too_long[0]], style, max_length)
    short = [texts[place] for place in too_long]
    if style == "named":
        short = _shortened([parts[place] for place in too_long], tokenizer, max_length)
    cut = encode_texts(tokenizer, short, truncation="longest_first", max_length=max_length)
    _check_cut(cut, max_length)
    for place, found in zip(too_long, cut, strict=True):
        inputs[place] = found
    return inputs, len(too_long)


def tokenize_words(words: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    """Ids of single words, without special tokens; none for a word that the tokenizer drops.

    Raises:
        UserError: the tokenizer fails.
    """
    texts = [(word,) for word in words]
    return [
        found["input_ids"] for found in encode_texts(tokenizer, texts, add_special_tokens=False)
    ]


def refuse_empty(inputs: Sequence[Inputs], called: Callable[[int], str]) -> None:
    """Refuse texts without tokens, by what `called` gives for their numbers from 1.

    Raises:
        UserError: names the first.
    """
    for number, found in enumerate(inputs, start=1):
        if not token_count(found):
            raise UserError(
                f"{called(number)}: the text has no tokens. Leave out rows without text."
            )


def _check_room(
    tokenizer: Tokenizer, parts: tuple[str, ...], style: Style, max_length: int
) -> None:
    """Refuse a length at which special tokens alone, or but one of two texts, would be left."""
    (bare,) = encode_texts(tokenizer, [("",) * (len(parts) if style == "pair" else 1)])
    least = token_count(bare) + len(parts)
    if max_length < least:
        raise UserError(
            f"task.max_length: {max_length} leaves no room for these texts: the tokenizer adds"
            f" {token_count(bare)} special tokens. Raise it to {least} or more."
        )


def _check_cut(cut: Sequence[Inputs], max_length: int) -> None:
    longest = max(map(token_count, cut))
    if longest > max_length:
        raise UserError(
            f"task.max_length: the backbone's tokenizer was asked to cut a text to {max_length}"
            f" tokens and gave {longest}, so it cannot cut. Raise it, or shorten the texts."
        )


def token_count(inputs: Inputs) -> int:
    """Tokens of a text, special tokens included."""
    return len(inputs["input_ids"])


def encode_texts(
    tokenizer: Tokenizer, texts: Sequence[tuple[str, ...]], **options: object
) -> list[Inputs]:
    """Token ids of texts as they are; `options` are the tokenizer's.

    Raises:
        UserError: the tokenizer fails.
    """
    inputs: list[Inputs] = []
    for start in range(0, len(texts), CHUNK):
        columns = [list(column) for column in zip(*texts[start : start + CHUNK], strict=True)]
        found = _encoded(tokenizer, columns, options)
        if "input_ids" not in found:
            raise UserError("the backbone's tokenizer gives no input_ids of a text.")
        names = [name for name in READ if name in found]
        inputs += [
            dict(zip(names, values, strict=True))
            for values in zip(*(found[name] for name in names), strict=True)
        ]
    return inputs


def _encoded(tokenizer: Tokenizer, columns: list[list[str]], options: dict[str, object]) -> Any:
    try:
        return tokenizer(*columns, return_attention_mask=False, verbose=False, **options)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        # A tokenizer's files can ask for what is not in them (an unknown word's token, a template);
        # where its Rust code panics, that is no Exception.
        raise UserError(f"the backbone's tokenizer cannot encode these texts: {error}") from None


def _shortened(
    parts: Sequence[tuple[str, ...]], tokenizer: Tokenizer, max_length: int
) -> list[tuple[str, ...]]:
    """Joined texts that lost, of their longest part, about as much as is too long."""
    current = list(parts)
    for _ in range(ROUNDS):
        sizes = [
            token_count(found)
            for found in encode_texts(tokenizer, [(" ".join(p),) for p in current])
        ]
        current = [
            part
            if size <= max_length
            else fitted(part, int(sum(map(len, part)) * (max_length / size)))
            for part, size in zip(current, sizes, strict=True)
        ]
    return [(" ".join(p),) for p in current]


def _shortened_by(parts: tuple[str, ...], share: float) -> tuple[str, ...]:
    return fitted(parts, int(sum(map(len, parts)) * share))


def fitted(parts: tuple[str, ...], room: int) -> tuple[str, ...]:
    """Parts with `room` characters in all; short parts stay whole."""
    kept = list(parts)
    by_length = sorted(range(len(parts)), key=lambda place: len(parts[place]))
    for done, place in enumerate(by_length):
        kept[place] = parts[place][: room // (len(parts) - done)]
        room -= len(kept[place])
    return tuple(kept)
