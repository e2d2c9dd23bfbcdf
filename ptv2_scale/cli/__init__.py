"""The command line: one plain function a command, PyTorch loaded only when one needs it.

Exit codes: 0 done, 2 the user's input is wrong, 3 a rank or host failed, 75 stopped by a request
with everything saved (run me again).
"""

from ptv2_scale.cli.grammar import parse, parser
from ptv2_scale.cli.program import main, run

__all__ = ["main", "parse", "parser", "run"]
