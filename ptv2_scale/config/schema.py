"""The JSON schema of recipes, for editors."""

from __future__ import annotations

from typing import Any

from ptv2_scale.config.recipe import RunConfig


def json_schema() -> dict[str, Any]:
    """The schema that is shipped as `recipes/recipe.schema.json`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **RunConfig.model_json_schema(),
    }
