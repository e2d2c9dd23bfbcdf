"""The section `prompt` of a recipe for prompt tuning."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ptv2_scale.config.prompt import METHODS, MethodSection
from ptv2_scale.config.rules import Partner, Partners
from ptv2_scale.config.values import Count, Text

# The longest that anyone has trained are some thousands of tokens.
PromptLength = Annotated[int, Field(ge=1, le=8192)]


@METHODS.add
class PromptTuning(MethodSection):
    """Prompt tuning (Lester et al., 2021): trained input embeddings in front of the text."""

    PARTNERS: ClassVar[Partners] = {
        "init_ids": Partner("init", "vocabulary"),
        "init_text": Partner("init", "text", needs=True),
        "init_scale": Partner("init", "random"),
    }

    method: Literal["prompt"] = Field(
        description="What is trained: input embeddings in front of the text."
    )
    length: PromptLength = Field(default=20, description="Embeddings in front of the text.")
    init: Literal["vocabulary", "text", "random"] = Field(
        default="vocabulary", description="First values: embeddings of tokens, or random numbers."
    )
    init_ids: Count | None = Field(
        default=5000,
        description="Tokens are drawn from so many of the lowest ids, where vocabularies have what"
        " is frequent; null: from all; init: vocabulary only.",
    )
    init_text: Text | None = Field(
        default=None, description="Text whose embeddings come first; init: text only."
    )
    init_scale: Annotated[float, Field(gt=0)] = Field(
        default=0.02, description="Standard deviation of the first values; init: random only."
    )
