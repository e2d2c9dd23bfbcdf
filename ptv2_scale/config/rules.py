"""Which keys of a recipe's section go together, for the models, the loader and the dump alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Partner(NamedTuple):
    """The setting with which a key has a meaning.

    Attributes:
        key: another key of the same section.
        value: what that one must be set to.
        needs: the setting cannot do without the key.
    """

    key: str
    value: str
    needs: bool = False


class Conflict(NamedTuple):
    """Keys of one section that do not go together.

    Attributes:
        keys: their names inside the section; those that are not written count as defaults.
        text: what is wrong and what to do, whole sentences with the keys' full names.
    """

    keys: tuple[str, ...]
    text: str


PARTNERS: Mapping[str, Mapping[str, Partner]] = {
    "prompt": {
        "hidden": Partner("encoder", "mlp"),
        "init_scale": Partner("init", "random"),
        "init_text": Partner("init", "text", needs=True),
        "init_from": Partner("init", "saved", needs=True),
    },
    "task": {
        "text": Partner("name", "classification", needs=True),
        "text_pair": Partner("name", "classification"),
        "label": Partner("name", "classification", needs=True),
    },
    "train": {"decay": Partner("schedule", "exponential")},
}


def conflicts(
    section: str, given: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Iterator[Conflict]:
    """What in a section contradicts itself.

    Args:
        section: its name in a recipe.
        given: what the user has written; values of any type.
        defaults: of the section's keys.
    """
    if section == "prompt" and given.get("method") == "none":
        yield from _head_only(given, defaults)
        return
    for key, partner in PARTNERS.get(section, {}).items():
        setting = given.get(partner.key, defaults.get(partner.key))
        if given.get(key) is not None and setting != partner.value and setting is not None:
            yield _idle(section, key, partner, setting, written=partner.key in given)
        if partner.needs and given.get(key) is None and setting == partner.value:
            yield Conflict((partner.key, key), _missing(section, key, partner))
    if section == "train":
        yield from _two_ends(given)
    if section == "prompt":
        yield from _first_values_of_mlp(given)


def meaningful(section: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without the keys that have no meaning beside the others."""
    partners = PARTNERS.get(section, {})
    return {
        key: value
        for key, value in settings.items()
        if key not in partners or settings.get(partners[key].key) == partners[key].value
    }


def _idle(section: str, key: str, partner: Partner, setting: object, *, written: bool) -> Conflict:
    default = "" if written else " (the default)"
    return Conflict(
        (partner.key, key),
        f"{section}.{partner.key} and {section}.{key} contradict each other: {key} is for"
        f" {partner.key}: {partner.value} only, and {partner.key} is '{setting}'{default}."
        f" Remove {key}, or set {partner.key}: {partner.value}.",
    )


def _missing(section: str, key: str, partner: Partner) -> str:
    return (
        f"{section}.{key}: missing, but {section}.{partner.key}: {partner.value} needs it."
        f" Add {section}.{key}."
    )


def _head_only(given: Mapping[str, Any], prefix: Mapping[str, Any]) -> Iterator[Conflict]:
    others = tuple(key for key in given if key in prefix and key != "method")
    if others:
        names = " and ".join(f"prompt.{key}" for key in ("method", *others))
        yield Conflict(
            ("method", *others),
            f"{names} contradict each other: method: none trains the head alone and has no other"
            " key. Remove them; on the command line, 'prompt={method: none}' replaces the section.",
        )


def _two_ends(given: Mapping[str, Any]) -> Iterator[Conflict]:
    if given.get("epochs") is not None and given.get("steps") is not None:
        yield Conflict(
            ("epochs", "steps"),
            "train.epochs and train.steps contradict each other: keep one. On the command line,"
            " 'train.epochs=null' takes the recipe's back.",
        )


def _first_values_of_mlp(given: Mapping[str, Any]) -> Iterator[Conflict]:
    init = given.get("init")
    if given.get("encoder") == "mlp" and init in ("text", "saved"):
        yield Conflict(
            ("encoder", "init"),
            f"prompt.encoder and prompt.init contradict each other: init: {init} gives keys and"
            " values, which only a table can hold. Set encoder: table, or init: random.",
        )
