"""What a key of a recipe allows, in words, read off the recipe's JSON schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from ptv2_scale.config.prompt import METHODS
from ptv2_scale.config.recipe import RunConfig
from ptv2_scale.config.task import TASKS

Schema = dict[str, Any]
_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "null": "null",
}


def _recipe_schema() -> Schema:
    return _schema_of(TASKS.names(), METHODS.names())


@cache
def _schema_of(kinds: tuple[str, ...], methods: tuple[str, ...]) -> Schema:
    """The schema while these kinds of tasks and methods are registered."""
    return RunConfig.model_json_schema()


def allowed_at(
    path: Sequence[str | int],
    models: Mapping[int, str] | None = None,
    root: Schema | None = None,
) -> list[Schema]:
    """Schemas of what may stand at a path, one for each alternative; none for an unknown key.

    Args:
        path: keys and places in lists.
        models: name of the model of a section on the way that comes in variants, by the place of
            its step; where it is not named, any of them counts.
        root: schema of the whole file, `without_references`; None: that of a recipe.
    """
    found = list(_alternatives(_recipe_schema() if root is None else root))
    for depth, step in enumerate(path):
        found = [inner for schema in found for inner in _inside(schema, step)]
        if models and depth in models:
            found = [schema for schema in found if schema.get("title") == models[depth]] or found
    return found


def without_references(schema: Schema) -> Schema:
    """A schema whose definitions stand where they are used; none may contain itself."""
    definitions = schema.get("$defs", {})

    def written_out(value: Any) -> Any:
        if isinstance(value, list):
            return [written_out(one) for one in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return written_out(definitions[value["$ref"].rpartition("/")[2]])
        return {key: written_out(inner) for key, inner in value.items() if key != "$defs"}

    return dict(written_out(schema))


def keys_at(
    path: Sequence[str | int],
    models: Mapping[int, str] | None = None,
    root: Schema | None = None,
) -> list[str]:
    """Keys that a section has; none for what is not a section. Arguments as in `allowed_at`."""
    found = allowed_at(path, models, root)
    return list(dict.fromkeys(key for one in found for key in one.get("properties", ())))


def words_of(schemas: Sequence[Schema]) -> list[str]:
    """Fixed words among what is allowed."""
    found = [value for one in schemas for value in one.get("enum", [one.get("const")])]
    return list(dict.fromkeys(word for word in found if isinstance(word, str)))


def describe(schemas: Sequence[Schema]) -> str:
    """What is allowed, in words: "a whole number from 1 to 512 or null"."""
    plain = [_describe(one) for one in schemas if not ("enum" in one or "const" in one)]
    fixed = [f"'{word}'" for word in words_of(schemas)]
    *most, last = dict.fromkeys([*fixed, *plain])
    return f"{', '.join(most)} or {last}" if most else last


def takes_text(schemas: Sequence[Schema]) -> bool:
    """Whether free text is among what is allowed."""
    return any(one.get("type") == "string" and not words_of([one]) for one in schemas)


def takes_items(schemas: Sequence[Schema], value: object) -> bool:
    """Whether a list of what a value names, commas in between, is among what is allowed."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return False
    wanted = "string" if isinstance(value, str) else "integer"
    count = len(str(value).split(","))
    return any(
        one.get("type") == "array"
        and one.get("minItems", 0) <= count <= one.get("maxItems", count)
        and any(item.get("type") == wanted for item in _inside(one, 0))
        for one in schemas
    )


def _alternatives(schema: Schema) -> Iterator[Schema]:
    if "$ref" in schema:
        schema = _recipe_schema()["$defs"][schema["$ref"].rpartition("/")[2]]
    inner = schema.get("anyOf") or schema.get("oneOf")
    if inner is None:
        yield schema
    else:
        for one in inner:
            yield from _alternatives(one)


def _inside(schema: Schema, step: str | int) -> Iterator[Schema]:
    if isinstance(step, str):
        inner = schema.get("properties", {}).get(step) or _of_any_name(schema)
    else:
        inner = schema.get("items") or next(iter(schema.get("prefixItems", ())), None)
    if inner is not None:
        yield from _alternatives(inner)


def _of_any_name(schema: Schema) -> Schema | None:
    """The schema of values whose keys are the user's own."""
    found = schema.get("additionalProperties")
    return found if isinstance(found, dict) else None


def _describe(schema: Schema) -> str:
    if "properties" in schema:
        return "a section of keys"
    if "type" not in schema:
        return "any value"
    if schema["type"] == "object":
        fewest = schema.get("minProperties")
        return f"a section with {f'{fewest} or more ' if fewest else ''}keys of your own"
    if schema["type"] == "array":
        return _describe_list(schema)
    if schema["type"] == "string":
        return _describe_text(schema)
    return _WORDS[schema["type"]] + _describe_range(schema)


def _describe_list(schema: Schema) -> str:
    items, fewest = list(_inside(schema, 0)), schema.get("minItems")
    more = "" if fewest == schema.get("maxItems") else " or more"
    of_what = f" ({describe(items)})" if items else ""
    return f"a list{f' of {fewest}{more}' if fewest else ''}{of_what}"


def _describe_text(schema: Schema) -> str:
    if "examples" in schema:
        return f"text such as '{schema['examples'][0]}'"
    return "non-empty text" if schema.get("minLength") else "text"


def _describe_range(schema: Schema) -> str:
    parts = [
        f" {word} {_plain(schema[key])}"
        for word, key in (
            ("above", "exclusiveMinimum"),
            ("from", "minimum"),
            ("to below", "exclusiveMaximum"),
            ("to", "maximum"),
        )
        if key in schema
    ]
    return "".join(parts)


def _plain(bound: float) -> str:
    # Older pydantic writes the bounds of numbers as floats.
    return str(int(bound) if bound == int(bound) else bound)
