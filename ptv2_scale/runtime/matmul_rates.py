"""How fast a machine multiplies matrices in each number format, and whether one is slow there."""

from __future__ import annotations

from dataclasses import dataclass

_SLOW = 0.5  # of the other format's rate


@dataclass(frozen=True)
class MatmulRates:
    """Floating-point operations a second in a product of two square matrices.

    Attributes:
        bf16: with both in bfloat16.
        fp32: with both in single precision.
    """

    bf16: float
    fp32: float

    def slowness(self, dtype: str) -> str | None:
        """Why a number format is slow, in words; None: it is not, or it is fp32.

        bf16 without units of its own takes up to a hundred times as long as fp32. Nobody gets fp32
        where bf16 is faster without having written it.

        Args:
            dtype: "bf16" or "fp32".
        """
        if dtype != "bf16" or self.bf16 >= _SLOW * self.fp32:
            return None
        return (
            f"bf16 computes at {_giga(self.bf16)} GFLOP/s, fp32 at {_giga(self.fp32)}:"
            f" {self.fp32 / self.bf16:.3g} times as fast"
        )


def _giga(rate: float) -> str:
    return f"{rate / 1e9:.3g}"
