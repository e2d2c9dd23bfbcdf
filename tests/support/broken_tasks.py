"""A kind of task of another package that breaks in the way that its recipe asks for."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from toys import TokenLabels, TokenTask

from ptv2_scale.tasks.registry import register_kind


class BreakingLabels(TokenLabels):
    """Tags of tokens, until it breaks."""

    kind: Literal["breaking_labels"] = Field(description="Tags of tokens, until it breaks.")  # type: ignore[assignment]
    breaks: Literal["never", "score is nan", "score raises"] = Field(
        default="never", description="How it breaks."
    )


class BreakingTask(TokenTask):
    """As `TokenTask`, whose score is NaN, or an error of its own."""

    section: BreakingLabels

    def score(self, records: Any, rows: Any) -> dict[str, float]:
        if self.section.breaks == "score raises":
            raise ZeroDivisionError("no rows of this tag")
        found = super().score(records, rows)
        return {self.metric: float("nan")} if self.section.breaks == "score is nan" else found


register_kind(BreakingLabels, BreakingTask)
