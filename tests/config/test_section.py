"""Sections that come in variants: what says which one a section is."""

from __future__ import annotations

from typing import ClassVar, Literal

import pytest

from ptv2_scale.config.section import Section, Variants


class Apple(Section):
    NAMES: ClassVar[tuple[str, ...]] = ("cox", "apple")

    kind: Literal["apple"] = "apple"
    name: str = "apple"
    core: int = 1


class Plum(Section):
    NAMES: ClassVar[tuple[str, ...]] = ("damson", "plum")

    kind: Literal["plum"] = "plum"
    name: str = "plum"
    stone: int = 1


@pytest.fixture
def fruit() -> Variants:
    variants = Variants("fruit", "kind", default="apple")
    variants.add(Plum)
    variants.add(Apple)
    return variants


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({}, "apple"),
        ({"name": "cox"}, "apple"),
        ({"name": "damson"}, "plum"),
        ({"name": "neither"}, "apple"),
        ({"name": "damson", "kind": "apple"}, "apple"),
        ({"name": ["damson"]}, "apple"),
    ],
)
def test_a_name_says_the_kind_where_the_key_does_not(
    fruit: Variants, given: dict[str, object], kind: str
) -> None:
    assert fruit.name_of(given) == kind


def test_a_name_of_another_kind_replaces_what_is_not_for_it(fruit: Variants) -> None:
    given = {"kind": "apple", "name": "damson", "core": 2}
    assert fruit.replaced_by(given, "name") == {"kind", "core"}
    assert fruit.replaced_by({**given, "name": "neither"}, "name") == set()
    assert fruit.replaced_by({**given, "kind": "plum"}, "kind") == {"core"}
