"""From the command line to an exit code."""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import NoReturn

from ptv2_scale.cli.files import schema
from ptv2_scale.cli.grammar import parse
from ptv2_scale.cli.hosts import doctor, fetch, launch
from ptv2_scale.cli.ranks import evaluate, predict, train
from ptv2_scale.runtime import rank_output as output
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.extensions import load_extensions
from ptv2_scale.runtime.rank_env import export_torch_env


def _quieten() -> None:
    """Libraries speak up for warnings only; DeepSpeed would print its whole configuration."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DATASETS_VERBOSITY", "error")
    # DeepSpeed's calls of torch.distributed, once a step and rank.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)


def _choose_accelerator() -> None:
    """Tell DeepSpeed of a CPU; it warns on every rank where it has to find that out by itself."""
    import torch

    if not torch.accelerator.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    arguments = parse(argv)
    try:
        load_extensions()
        if arguments.action in (train, evaluate, predict):
            export_torch_env(os.environ)
    except UserError as error:
        # Every rank says it: which one this is, is what it does not know.
        print(f"ptv2-scale: {error}", file=sys.stderr)
        return 2
    _quieten()
    if arguments.action not in (schema, launch, doctor, fetch):
        _choose_accelerator()
    try:
        return int(arguments.action(arguments))
    except UserError as error:
        # Under a launcher every rank finds the same mistake; one of them says it.
        if os.environ.get("RANK", "0") == "0":
            print(f"ptv2-scale: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception:
        traceback.print_exc()
        return 3
    finally:
        output.finish()


def run() -> NoReturn:
    """The program: `main`, then out at once.

    C++ threads of the libraries (gloo, Arrow, DeepSpeed's extension) are torn down in no order at a
    normal exit; one finished run among about a hundred was seen to end in -6 there.
    """
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
