"""The section `prompt` of a recipe for P-Tuning, the first version."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ptv2_scale.config.methods.prompt import PromptLength
from ptv2_scale.config.prompt import METHODS, MethodSection


@METHODS.add
class PTuning(MethodSection):
    """P-Tuning (Liu et al., 2021): input embeddings that an LSTM or an MLP makes."""

    method: Literal["ptuning"] = Field(
        description="What is trained: input embeddings in front of the text, by way of an encoder."
    )
    length: PromptLength = Field(default=20, description="Embeddings in front of the text.")
    encoder: Literal["lstm", "mlp", "table"] = Field(
        default="lstm",
        description="What makes them: a bidirectional LSTM with an MLP behind it, an MLP, or, as"
        " in exports, a table of what either made.",
    )
    hidden: Annotated[int, Field(ge=1, le=2**14)] | None = Field(
        default=None, description="Width of the encoder; null: that of an input embedding."
    )
    init_scale: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="Standard deviation of the encoder's first inputs."
    )

    def as_exported(self) -> PTuning:
        """An export holds the embeddings that the encoder made."""
        return self.model_copy(update={"encoder": "table"})
