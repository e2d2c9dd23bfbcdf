"""What a key of a recipe allows, in words, read off the recipe's JSON schema."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from ptv2_scale.config.recipe import RunConfig

Schema = dict[str, Any]
_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "null": "null",
}


@cache
def _recipe_schema() -> Schema:
    return RunConfig.model_json_schema()


def allowed_at(path: Sequence[str | int]) -> list[Schema]:
    """Schemas of what may stand at a path, one for each alternative; none for an unknown key."""
    found = list(_alternatives(_recipe_schema()))
    for step in path:
        found = [inner for schema in found for inner in _inside(schema, step)]
    return found


def keys_at(path: Sequence[str | int]) -> list[str]:
    """Keys that a section has; none for what is not a section."""
    return list(dict.fromkeys(key for one in allowed_at(path) for key in one.get("properties", ())))


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
        inner = schema.get("properties", {}).get(step)
    else:
        inner = schema.get("items") or next(iter(schema.get("prefixItems", ())), None)
    if inner is not None:
        yield from _alternatives(inner)


def _describe(schema: Schema) -> str:
    if "properties" in schema:
        return f"a section with the keys {', '.join(schema['properties'])}"
    if schema["type"] == "array":
        return _describe_list(schema)
    if schema["type"] == "string":
        return _describe_text(schema)
    return _WORDS[schema["type"]] + _describe_range(schema)


def _describe_list(schema: Schema) -> str:
    [items] = [list(_inside(schema, 0))]
    fewest = schema.get("minItems")
    count = f" of {fewest}" if fewest == schema.get("maxItems") and fewest else ""
    least = f" of {fewest} or more" if fewest and not count else ""
    return f"a list{count or least} ({describe(items)})"


def _describe_text(schema: Schema) -> str:
    if "examples" in schema:
        return f"text such as '{schema['examples'][0]}'"
    return "text that is not empty" if schema.get("minLength") else "text"


def _describe_range(schema: Schema) -> str:
    above, least = schema.get("exclusiveMinimum"), schema.get("minimum")
    below, most = schema.get("exclusiveMaximum"), schema.get("maximum")
    low = f" above {above}" if above is not None else f" from {least}" if least is not None else ""
    high = f" to below {below}" if below is not None else f" to {most}" if most is not None else ""
    return low + high
