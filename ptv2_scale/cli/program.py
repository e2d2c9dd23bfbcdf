"""From the command line to an exit code."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import NoReturn

from ptv2_scale.cli.grammar import COMPUTING_COMMANDS, RANK_COMMANDS, parse
from ptv2_scale.runtime import rank_output as output
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.exit_codes import FAILED, INTERRUPTED, INVALID_INPUT, SAVED
from ptv2_scale.runtime.extensions import load_extensions
from ptv2_scale.runtime.rank_env import export_torch_env, rank_from_environment
from ptv2_scale.runtime.verbosity import choose, chosen, set_up_logging
from ptv2_scale.watch.requests import Stopped


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    arguments = parse(argv)
    if arguments.verbosity:
        choose(arguments.verbosity)
    try:
        if arguments.action in RANK_COMMANDS:
            export_torch_env(os.environ)
        else:
            load_extensions()
    except UserError as error:
        _say(str(error))
        return INVALID_INPUT
    # DeepSpeed's calls of torch.distributed, once a step and rank.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    # DeepSpeed imports distutils before setuptools, which setuptools remarks upon at every start.
    warnings.filterwarnings("ignore", category=UserWarning, module="_distutils_hack")
    set_up_logging()
    if arguments.action in COMPUTING_COMMANDS:
        from ptv2_scale.distributed.accelerator import choose_accelerator

        choose_accelerator()
    try:
        return int(arguments.action(arguments))
    except UserError as error:
        # Of several ranks the watch has spoken, and ended this process.
        if chosen() == "verbose":
            traceback.print_exc()
        _say(str(error))
        return INVALID_INPUT
    except Stopped as stop:
        if rank_from_environment() == 0:  # all ranks have come to it
            _say(f"{stop}. Go on with --resume auto." if stop.code == SAVED else str(stop))
        return stop.code
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:
        traceback.print_exc()
        return FAILED
    finally:
        output.restore()


def _say(message: str) -> None:
    print(f"ptv2-scale: {message}", file=sys.stderr)


def run() -> NoReturn:
    """The program: `main`, then out at once.

    C++ threads of the libraries (gloo, Arrow, DeepSpeed's extension) are torn down in no order at a
    normal exit; one finished run among about a hundred was seen to end in -6 there.
    """
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
