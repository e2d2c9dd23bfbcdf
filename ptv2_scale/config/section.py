"""`Section`: what every section of a recipe can do; and sections that come in variants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import (
    BaseModel,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from typing_extensions import Self

from ptv2_scale.config.rules import (
    Conflict,
    Partners,
    exclusive_conflicts,
    meaningful,
    partner_conflicts,
)
from ptv2_scale.config.values import SETTINGS


class Section(BaseModel):
    """A section of a recipe.

    Attributes:
        SECTION: name in a recipe.
        PARTNERS: settings without which a key has no meaning.
        EXCLUSIVE: groups of keys of which one at most is set.
        NAMES: values of `name` that say which variant a section is; see `Variants`.
    """

    model_config = SETTINGS

    SECTION: ClassVar[str] = ""
    PARTNERS: ClassVar[Partners] = {}
    EXCLUSIVE: ClassVar[tuple[tuple[str, ...], ...]] = ()
    NAMES: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def conflicts(cls, given: Mapping[str, Any]) -> Iterator[Conflict]:
        """What in a section contradicts itself; `given` is what the user has written."""
        yield from partner_conflicts(cls.SECTION, cls.PARTNERS, given, cls.defaults())
        yield from exclusive_conflicts(cls.SECTION, cls.EXCLUSIVE, given)

    @classmethod
    def replaced_by(cls, key: str, value: object) -> set[str]:
        """Keys for which there is no place beside a setting."""
        groups = [group for group in cls.EXCLUSIVE if key in group]
        idle = {
            other
            for other, partner in cls.PARTNERS.items()
            if partner.key == key and partner.value != value
        }
        return idle | {other for group in groups for other in group if other != key}

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Default of every key; None where there is none."""
        fields = cls.model_fields.items()
        return {key: None if field.is_required() else field.default for key, field in fields}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        given = {key: getattr(self, key) for key in self.model_fields_set}
        found = [conflict.text for conflict in self.conflicts(given)]
        if found:
            raise PydanticCustomError("conflict", "{text}", {"text": " ".join(found)})
        return self

    @model_serializer(mode="wrap")
    def _meaningful(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return meaningful(self.PARTNERS, write(self))


_Model = TypeVar("_Model", bound=Section)


class Variants:
    """The models of a section that comes in variants, told apart by the value of one key.

    Stands in a field's annotation (`Annotated[TaskSection, TASKS]`), where it makes a tagged union
    of all models that are registered by then.

    Args:
        section: name in a recipe.
        key: whose value says which variant it is.
        default: its value where neither the key nor a name says it: the key `name` says it, too,
            where a variant has its value among its `NAMES`.
    """

    def __init__(self, section: str, key: str, default: str) -> None:
        self.section, self.key, self._default = section, key, default
        self._models: dict[str, type[Section]] = {}
        self._left_out: frozenset[str] = frozenset()

    def add(self, model: type[_Model]) -> type[_Model]:
        """Register a model, whose key is a Literal: its variant's name.

        Raises:
            ValueError: another one has this name.
        """
        name = self.name_of_model(model)
        known = self._models.setdefault(name, model)
        if known is not model:
            raise ValueError(f"{self.section}.{self.key}: {name} is {known.__qualname__} already")
        return model

    def name_of_model(self, model: type[Section]) -> str:
        """The name of a variant."""
        (name,) = get_args(model.model_fields[self.key].annotation)
        return str(name)

    def names(self) -> tuple[str, ...]:
        """Names of the variants, as a recipe writes them, the default first."""
        names = [name for name in self._models if name not in self._left_out]
        return tuple(sorted(names, key=lambda name: name != self._default))

    def without(self, *names: str) -> Variants:
        """The same variants but for these, whatever is registered later."""
        others = Variants(self.section, self.key, self._default)
        others._models, others._left_out = self._models, frozenset(names)
        return others

    def models(self) -> tuple[type[Section], ...]:
        """Models of the variants, in the same order."""
        return tuple(self._models[name] for name in self.names())

    def name_of(self, given: object) -> str:
        """The variant that a section asks for; it may be one that is not known."""
        if isinstance(given, Mapping):
            found = given.get(self.key)
        else:
            found = getattr(given, self.key, None)
        return found if isinstance(found, str) else self._named(given) or self._default

    def _named(self, given: object) -> str | None:
        """The variant that a section's name is one of."""
        name = given.get("name") if isinstance(given, Mapping) else None
        return next((one for one in self.names() if name in self._models[one].NAMES), None)

    def model_of(self, given: object) -> type[Section] | None:
        """The model for a section; None: there is no such variant."""
        name = self.name_of(given)
        return self._models[name] if name in self.names() else None

    def conflicts(self, given: Mapping[str, Any]) -> Iterator[Conflict]:
        """Keys that belong to other variants than the one that was asked for."""
        foreign = {key for name in self.names() for key in self.foreign(given, name)}
        keys = [key for key in given if key in foreign]
        if keys:
            yield self._foreign(self.name_of(given), keys)

    def foreign(self, given: Mapping[str, Any], name: str) -> set[str]:
        """Keys of a variant that the one which is asked for does not have."""
        model = self.model_of(given)
        if model is None:
            return set()
        return set(self._models[name].model_fields) - set(model.model_fields)

    def replaced_by(self, given: Mapping[str, Any], key: str) -> set[str]:
        """Keys for which there is no place beside the variant that a setting of `key` chose."""
        named = {self.key} if key == "name" and self._named(given) else set()
        if key != self.key and not named:
            return set()
        left = {other: value for other, value in given.items() if other not in named}
        return named | {other for name in self.names() for other in self.foreign(left, name)}

    def _foreign(self, variant: str, keys: list[str]) -> Conflict:
        named = " and ".join(f"{self.section}.{key}" for key in (self.key, *keys))
        return Conflict(
            (self.key, *keys),
            f"{named} contradict each other: {self.key} is '{variant}', which has no"
            f" {' or '.join(keys)} ({self._owners(keys)}). Remove what it does not have; on the"
            f" command line, '{self.section}={{{self.key}: {variant}}}' replaces the section.",
        )

    def _owners(self, keys: list[str]) -> str:
        owners = (one for one in self.names() if set(keys) & set(self._models[one].model_fields))
        return f"{self.key}: {' or '.join(owners)} does"

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """A union whose member the key chooses."""
        choices = {name: handler.generate_schema(self._models[name]) for name in self.names()}
        return core_schema.tagged_union_schema(choices, self.name_of)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Any of the members: where the key is not written, keys of several may fit."""
        found = handler(schema)
        return {"anyOf" if key == "oneOf" else key: value for key, value in found.items()}
