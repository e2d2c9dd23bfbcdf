"""How figures are drawn by matplotlib: one style, files of the same bytes each time."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from ptv2_scale.history.palette import LIGHT
from ptv2_scale.runtime.errors import UserError, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind = Literal["png", "svg"]

_LONGEST = 40
_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "ptv2_scale",
    "svg.fonttype": "none",  # texts stay texts
    "text.parse_math": False,  # names are people's, and may have a $
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
}
METADATA: Mapping[Kind, Mapping[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}


@contextmanager
def drawing(what: str, extra: str) -> Iterator[None]:
    """Draw in this style meanwhile.

    Args:
        what: is drawn, for the message: "a report's figures".
        extra: of the package that installs matplotlib.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
    except ImportError:
        raise UserError(
            f"matplotlib, which draws {what}, is not installed: pip install 'ptv2_scale[{extra}]'"
        ) from None
    with rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # an SVG has the text
        yield


def saved(figure: Figure, kind: Kind) -> bytes:
    """A figure as a file."""
    written = io.BytesIO()
    figure.savefig(written, format=kind, dpi=150, metadata=dict(METADATA[kind]), facecolor=LIGHT)
    return written.getvalue()


def short(text: str) -> str:
    """A name that leaves room for others."""
    # A legend leaves out what begins with _.
    clean = printable(text if not text.startswith("_") else f" {text}")
    return clean if len(clean) <= _LONGEST else f"{clean[: _LONGEST - 1]}…"
