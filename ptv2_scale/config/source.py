"""Where each value of a recipe was written: a line of its file, or an override."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ptv2_scale.config.yaml_text import KeyPath

Place = int | str


@dataclass
class Source:
    """Places of a recipe's values.

    Attributes:
        name: the file, as messages name it.
        places: line in the file, or "override 'key=value'", by path.
    """

    name: str
    places: dict[KeyPath, Place] = field(default_factory=dict)

    def place(self, path: KeyPath) -> Place | None:
        """Where a value was written, or else the section around it, or else a key inside it."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        inner = (place for key, place in self.places.items() if key[: len(path)] == path)
        return next(inner, None) if path else None

    def replace(self, path: KeyPath, place: Place) -> None:
        """Note that a value, with all that is inside it, was written anew."""
        for inner in [other for other in self.places if other[: len(path)] == path]:
            del self.places[inner]
        self.places[path] = place

    def where(self, places: Iterable[Place | None]) -> str:
        """Places as the beginning of a message: "x.yaml:12 and :13"."""
        written = dict.fromkeys(place for place in places if place is not None)
        lines = sorted(place for place in written if isinstance(place, int))
        others = [place for place in written if isinstance(place, str)]
        parts = [f"{self.name if not index else ''}:{line}" for index, line in enumerate(lines)]
        return " and ".join([*parts, *others]) or self.name


def order(places: Iterable[Place | None]) -> tuple[bool, int]:
    """Sort key of a message: the file from top to bottom, then overrides."""
    known = [place for place in places if place is not None]
    lines = [place for place in known if isinstance(place, int)]
    return bool(known) and not lines, min(lines, default=0)
