"""What can be said on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ptv2_scale import __version__
from ptv2_scale.cli.answers import generate, predict
from ptv2_scale.cli.completion import add_completion, completion
from ptv2_scale.cli.examples import epilog, top_epilog
from ptv2_scale.cli.files import convert, export, inspect, schema
from ptv2_scale.cli.hosts import doctor, fetch, launch
from ptv2_scale.cli.launch_options import add_hosts, add_options, count, number
from ptv2_scale.cli.output import BOARDS
from ptv2_scale.cli.planning import add_plan, plan
from ptv2_scale.cli.ranks import evaluate, train
from ptv2_scale.cli.recipes import add_recipes, recipes
from ptv2_scale.cli.runs import add_plot, add_runs, plot, runs
from ptv2_scale.cli.sweeps import add_sweep, sweep

Action = Callable[[argparse.Namespace], int]
AddArguments = Callable[[argparse.ArgumentParser], None]

_KINDS = ("jsonl", "csv", "tsv", "parquet")
_ROWS = (
    ".jsonl, .csv, .tsv or .parquet with the task's columns; - reads JSON lines of standard input"
)
_ANSWERS = (
    "file to be written, which must not exist; the same command goes on with one that was"
    " interrupted. - writes JSON lines to standard output"
)


def _recipe(command: argparse.ArgumentParser, nargs: str | None = None) -> None:
    command.add_argument(
        "recipe", metavar="RECIPE", help="the recipe's YAML file, or `demo`", nargs=nargs
    )
    command.add_argument(
        "overrides", nargs="*", metavar="key=value", help="keys set anew: train.lr=5e-3"
    )


def _json(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--json", action="store_true", help="print one line of JSON (docs/runs.md), nothing else"
    )


def _verbosity(command: argparse.ArgumentParser) -> None:
    one = command.add_mutually_exclusive_group()
    one.add_argument(
        "-q", "--quiet", dest="verbosity", action="store_const", const="quiet",
        help="only results and errors: no warnings, no progress",
    )  # fmt: skip
    one.add_argument(
        "-v", "--verbose", dest="verbosity", action="store_const", const="verbose",
        help="also what libraries log, and the traceback of an error in the input",
    )  # fmt: skip


def _resume(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--resume", default="never", metavar="auto|never|PATH",
        help="auto: continue from the newest valid checkpoint, if there is one; PATH: from this"
        " one; never (default): start a new run",
    )  # fmt: skip


def _doctor(command: argparse.ArgumentParser) -> None:
    _recipe(command, "?")
    add_hosts(command)
    command.add_argument(
        "--master", metavar="ADDRESS[:PORT]", help="where ranks meet; default: the first host"
    )


def _evaluate(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "source", metavar="EXPORT", help="folder of an export, or of a finished run"
    )
    command.add_argument("overrides", nargs="*", metavar="task.key=value", help="task.path=... ...")
    command.add_argument("--split", default="validation", choices=("train", "validation", "test"))
    command.add_argument("--backbone", help="name or folder, where it is not the export's own")
    _task(command)


def _predict(command: argparse.ArgumentParser) -> None:
    command.add_argument("sources", nargs="+", metavar="EXPORT", help="exports on one backbone")
    command.add_argument(
        "--input", required=True,
        help=f"{_ROWS}; for a leaderboard, the published test file",
    )  # fmt: skip
    command.add_argument(
        "--output", required=True, help=f"{_ANSWERS}; for a leaderboard, its folder"
    )
    command.add_argument(
        "--format", choices=(*_KINDS, *BOARDS),
        help="of the output; default: by its name, else jsonl. glue, superglue: the file that this"
        " leaderboard takes",
    )  # fmt: skip
    _answers(command)
    command.add_argument(
        "--key", metavar="NAME",
        help="where a row's answer stands; default: prediction, or predictions of several exports",
    )  # fmt: skip


def _answers(command: argparse.ArgumentParser) -> None:
    """How the rows of a file are answered."""
    command.add_argument(
        "--batch-size", type=count, metavar="N",
        help="rows of a rank's forward pass; default: the recipe's evaluate.micro_batch",
    )  # fmt: skip
    command.add_argument(
        "--on-bad-row", default="stop", choices=("stop", "skip"),
        help="what to do with a row that cannot be read; skip lists them in OUTPUT.skipped",
    )  # fmt: skip
    command.add_argument("--backbone", help="name or folder, where it is not the exports' own")
    _task(command)


def _generate(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "sources", nargs="+", metavar="EXPORT",
        help="exports on one backbone; of several each row names its own in its column export",
    )  # fmt: skip
    command.add_argument("--input", required=True, help=_ROWS)
    command.add_argument("--output", required=True, help=_ANSWERS)
    command.add_argument(
        "--format", choices=_KINDS, help="of the output; default: by its name, else jsonl"
    )
    _answers(command)
    command.add_argument(
        "--key", metavar="NAME", help="where a row's answer stands; default: prediction"
    )
    command.add_argument(
        "--max-new-tokens", type=count, metavar="N",
        help="most tokens of an answer; default: the recipe's task.max_new_tokens",
    )  # fmt: skip
    beams = command.add_argument_group("beams, instead of the likeliest token each time")
    beams.add_argument("--num-beams", type=count, metavar="N", help="number of beams of a text")
    beams.add_argument(
        "--length-penalty", type=float, metavar="X",
        help="a beam's log-likelihood is divided by its length to this power; default: 1",
    )  # fmt: skip
    drawn = command.add_argument_group("sampling, if any of these is given")
    drawn.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="temperature of the softmax, above 0; default: 1",
    )
    drawn.add_argument(
        "--top-k", type=count, metavar="K", help="draw from the K likeliest tokens only"
    )
    drawn.add_argument(
        "--top-p", type=float, metavar="P",
        help="draw only from the likeliest tokens that together have this probability",
    )  # fmt: skip
    drawn.add_argument(
        "--seed", type=number, metavar="S",
        help="seed of the draws, which depend on it and the row's number only; default: 0",
    )  # fmt: skip


def _export(command: argparse.ArgumentParser) -> None:
    command.add_argument("source", metavar="RUN", help="run directory or export")
    command.add_argument("target", metavar="OUT", help="folder to be made")
    command.add_argument("overrides", nargs="*", metavar="task.key=value", help="task.path=... ...")
    command.add_argument("--backbone", help="name or folder, where the run's own has moved")
    command.add_argument("--format", default="native", choices=("native", "peft"))
    _task(command)


def _task(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--task", metavar="NAME", help="name of the task, where the run has several"
    )


def _convert(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "source", metavar="FOLDER", help="folder of a backbone with pytorch_model*.bin"
    )
    command.add_argument(
        "target",
        metavar="OUT",
        help="folder to be made; an interrupted conversion continues in it",
    )
    command.add_argument("--dtype", default="bf16", choices=("bf16", "fp32"))


def _schema(command: argparse.ArgumentParser) -> None:
    command.add_argument("what", nargs="?", default="recipe", choices=("recipe", "sweep"))
    command.add_argument(
        "--markdown", action="store_true", help="instead, a page of all keys: docs/recipe.md"
    )


# Each command, and what adds its arguments.
_COMMANDS: Mapping[Action, tuple[AddArguments, ...]] = {
    train: (_recipe, _resume),
    launch: (_recipe, _resume, add_options, _json),
    sweep: (add_sweep,),
    recipes: (add_recipes,),
    runs: (add_runs,),
    plot: (add_plot,),
    inspect: (_recipe, _json),
    plan: (_recipe, add_plan),
    doctor: (_doctor, _json),
    fetch: (_recipe, add_hosts),
    evaluate: (_evaluate, _json),
    predict: (_predict,),
    generate: (_generate,),
    export: (_export,),
    convert: (_convert,),
    schema: (_schema,),
    completion: (add_completion,),
}


# Those that run on every rank of a job, and those that compute: all else needs no PyTorch to begin.
RANK_COMMANDS: tuple[Action, ...] = (train, evaluate, predict, generate)
COMPUTING_COMMANDS: tuple[Action, ...] = (*RANK_COMMANDS, inspect, export, convert)


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(
        prog="ptv2-scale",
        description="P-Tuning v2 of frozen language models sharded by DeepSpeed ZeRO-3.",
        epilog=top_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("-V", "--version", action="version", version=f"ptv2-scale {__version__}")
    # DeepSpeed's launcher puts this in front of the command; the environment says the same.
    top.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    for action, adding in _COMMANDS.items():
        text = (action.__doc__ or "").splitlines()[0]
        command = commands.add_parser(
            action.__name__,
            help=text,
            description=text,
            epilog=epilog(action.__name__),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(action=action)
        for add in (*adding, _verbosity):
            add(command)
    text = "Show the help of a command."
    asking = commands.add_parser("help", help=text, description=text)
    asking.add_argument("words", nargs="*", metavar="COMMAND", help="train, recipes copy, ...")
    return top


def parse(argv: Sequence[str] | None) -> Any:
    """Arguments of a command; key=value may stand behind options too, where argparse wants none.

    Without a command, and for `help COMMAND`, it prints help and ends the program.
    """
    grammar = parser()
    arguments, rest = grammar.parse_known_args(argv)
    if arguments.command in (None, "help"):
        grammar.parse_args([*getattr(arguments, "words", ()), "--help"])
    late = [text for text in rest if "=" in text and not text.startswith("-")]
    if len(late) < len(rest) or (late and not hasattr(arguments, "overrides")):
        grammar.error(f"unrecognized arguments: {' '.join(rest)}")
    if late:
        arguments.overrides = [*arguments.overrides, *late]
    return arguments
