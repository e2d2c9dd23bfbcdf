"""Which keys of a recipe's section go together, for the models, the loader and the dump alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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


Partners = Mapping[str, Partner]


class Conflict(NamedTuple):
    """Keys of one section that do not go together.

    Attributes:
        keys: their names inside the section; those that are not written count as defaults.
        text: what is wrong and what to do, whole sentences with the keys' full names.
    """

    keys: tuple[str, ...]
    text: str


def partner_conflicts(
    section: str, partners: Partners, given: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Iterator[Conflict]:
    """Keys that lack their partner, and settings that lack a key.

    Args:
        section: its name in a recipe.
        partners: of the section's keys.
        given: what the user has written; values of any type.
        defaults: of the section's keys.
    """
    for key, partner in partners.items():
        setting = given.get(partner.key, defaults.get(partner.key))
        if given.get(key) is not None and setting != partner.value and setting is not None:
            yield _idle(section, key, partner, setting, written=partner.key in given)
        if partner.needs and given.get(key) is None and setting == partner.value:
            yield Conflict((partner.key, key), _missing(section, key, partner))


def exclusive_conflicts(
    section: str, exclusive: Iterable[tuple[str, ...]], given: Mapping[str, Any]
) -> Iterator[Conflict]:
    """Keys that are set though only one of them may be.

    Args:
        section: its name in a recipe.
        exclusive: groups of keys of which one at most is set.
        given: what the user has written; values of any type.
    """
    for group in exclusive:
        keys = tuple(key for key in group if given.get(key) is not None)
        if len(keys) > 1:
            named = " and ".join(f"{section}.{key}" for key in keys)
            yield Conflict(keys, f"{named} contradict each other: keep one.")


def meaningful(partners: Partners, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without the keys that have no meaning beside the others."""
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
