"""The section `prompt` of a recipe, as far as it is the same for every method."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from ptv2_scale.config.section import Section, Variants

METHODS = Variants("prompt", "method", default="prefix")


class MethodSection(Section):
    """What every method's section has.

    Attributes:
        TRAINS_BACKBONE: the backbone's own parameters are trained: no other model can share it,
            and its optimizer state may be moved to the CPU.
    """

    SECTION: ClassVar[str] = "prompt"
    TRAINS_BACKBONE: ClassVar[bool] = False

    method: str = Field(description="What is trained.")

    @property
    def keeps_first_values(self) -> bool:
        """Whether part of a trained table is to stay as it was at first."""
        return False

    def files(self) -> dict[str, Path]:
        """Files and folders that ranks read, by what they are: every host must have them."""
        return {}

    def as_exported(self) -> MethodSection:
        """The section that describes an export of it: what an export folds away is left out."""
        return self
