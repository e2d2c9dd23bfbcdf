"""One rank of the tests' own: runs a worker as a script, then out at once, as `cli.run` does.

C++ threads of the libraries are torn down in no order at a normal exit: a worker that had printed
its right result was seen to end in -6 there.

    python rank.py WORKER ARGUMENT ...
"""

from __future__ import annotations

import os
import runpy
import sys
import traceback


def main() -> int:
    sys.argv.pop(0)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
