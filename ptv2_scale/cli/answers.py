"""Commands by which every rank answers the rows of a file."""

from __future__ import annotations

import argparse

from ptv2_scale.cli.output import BOARDS
from ptv2_scale.cli.prediction import answer_rows
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.exit_codes import DONE

STRATEGY = ("num_beams", "length_penalty", "temperature", "top_k", "top_p", "seed")


def predict(arguments: argparse.Namespace) -> int:
    """Answer the rows of a file with one or more exports."""
    if arguments.format in BOARDS:
        _check_submission(arguments)
    several = len(arguments.sources) > 1
    answer_rows(arguments, arguments.key or ("predictions" if several else "prediction"))
    return DONE


def _check_submission(arguments: argparse.Namespace) -> None:
    board = arguments.format
    if arguments.key or arguments.on_bad_row == "skip":
        option = "--key" if arguments.key else "--on-bad-row skip"
        raise UserError(
            f"{option}: --format {board} writes the leaderboard's file, all rows in it."
        )
    if "-" in (arguments.input, arguments.output):
        raise UserError(f"--format {board}: reads the published file, and writes into a folder.")


def generate(arguments: argparse.Namespace) -> int:
    """Answer the rows of a file by texts, with one export or each row with its own."""
    from ptv2_scale.inference.writing import GenerationOptions
    from ptv2_scale.model.decoding import chosen_strategy

    # Before anything is loaded.
    strategy = chosen_strategy(**{name: getattr(arguments, name) for name in STRATEGY})
    texts = GenerationOptions(arguments.max_new_tokens, strategy)
    answer_rows(arguments, arguments.key or "prediction", texts)
    return DONE
