"""The command line: one plain function a command, PyTorch loaded only when one needs it.

Exit codes: 0 done, 2 the user's input is wrong; anything else is a fault, with its traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ptv2_scale import __version__
from ptv2_scale.config import RunConfig, load_recipe
from ptv2_scale.demo import RECIPE as DEMO_RECIPE
from ptv2_scale.errors import UserError

if TYPE_CHECKING:
    from ptv2_scale.engine.ranks import Ranks

_EXAMPLES = """examples:
  ptv2-scale train demo
  ptv2-scale train recipes/rte.yaml backbone.name=./t5-large train.lr=5e-3
  deepspeed --num_gpus 8 --module ptv2_scale train recipes/rte.yaml --resume auto
  ptv2-scale predict runs/rte --input new.jsonl --output labelled.jsonl
  ptv2-scale export runs/rte ./rte-peft --format peft
  ptv2-scale convert ./glm-10b ./glm-10b-safetensors
"""


def recipe_path(name: str) -> Path:
    """The file of a recipe; `demo` is the embedded one unless a file is called so."""
    return DEMO_RECIPE if name == "demo" and not Path(name).exists() else Path(name)


def _load(arguments: argparse.Namespace) -> tuple[RunConfig, Path]:
    path = recipe_path(arguments.recipe)
    config = load_recipe(path, arguments.overrides)
    name = arguments.recipe if path == DEMO_RECIPE else path.stem
    return config, Path(config.run or Path("runs") / name)


def _with_ranks(cpu_threads: int, action: Callable[[Ranks], None]) -> None:
    """Start this process as a rank, run, and leave; a rank that fails takes the others along."""
    from ptv2_scale.engine import ranks as engine_ranks

    # DeepSpeed prints as it starts; standard output is for results.
    with contextlib.redirect_stdout(sys.stderr):
        ranks = engine_ranks.start(cpu_threads)
    try:
        action(ranks)
    finally:
        engine_ranks.stop()


def train(arguments: argparse.Namespace) -> None:
    """Train a recipe's prompt, evaluate it, export it."""
    config, path = _load(arguments)
    from ptv2_scale.engine.run import Run, open_recipe
    from ptv2_scale.summary import summary

    opened = open_recipe(config)

    def action(ranks: Ranks) -> None:
        result = Run(opened, path, arguments.resume, ranks).train()
        if ranks.first:
            print(summary(result, path))

    _with_ranks(config.train.cpu_threads, action)


def evaluate(arguments: argparse.Namespace) -> None:
    """Score an export on a split of its task."""
    from ptv2_scale.engine.serve import Server, open_export
    from ptv2_scale.summary import verdict

    export = open_export(Path(arguments.source), arguments.backbone, arguments.overrides)

    def action(ranks: Ranks) -> None:
        metrics, majority = Server([export], ranks).evaluate(export.name, arguments.split)
        name = export.setup.task.metric.name
        found = {"split": arguments.split, "metric": name, "value": metrics[name]}
        if ranks.first:
            print(json.dumps({**found, "majority": majority, "metrics": metrics}))
            print(verdict(name, metrics[name], majority), file=sys.stderr)

    _with_ranks(export.setup.config.train.cpu_threads, action)


def predict(arguments: argparse.Namespace) -> None:
    """Label the rows of a JSONL file with one or more exports."""
    from ptv2_scale.engine.serve import Server, open_export
    from ptv2_scale.predictions import check_output, read_input, write_predictions

    output = Path(arguments.output)
    check_output(output)
    exports = [open_export(Path(source), arguments.backbone) for source in arguments.sources]
    columns = [column for export in exports for column in export.setup.task.columns]
    rows = read_input(Path(arguments.input), columns)

    def action(ranks: Ranks) -> None:
        server = Server(exports, ranks)
        found = {export.name: list(server.predict(export.name, rows)) for export in exports}
        if ranks.first:
            write_predictions(output, rows, found)
            print(f"{len(rows)} rows -> {output}", file=sys.stderr)

    _with_ranks(exports[0].setup.config.train.cpu_threads, action)


def export(arguments: argparse.Namespace) -> None:
    """Write what a run has trained as a folder of its own, ours or PEFT's."""
    from ptv2_scale.engine.take_away import export_run
    from ptv2_scale.export import export_peft

    source, target = Path(arguments.source), Path(arguments.target)
    if arguments.format == "peft":
        export_peft(source, target)
    else:
        export_run(source, target)
    print(target)


def inspect(arguments: argparse.Namespace) -> None:
    """Show where a recipe's prefix lies, and how much of the model is trained."""
    from ptv2_scale.inspection import describe

    config, _ = _load(arguments)
    print(describe(config))


def convert(arguments: argparse.Namespace) -> None:
    """Write a backbone's folder anew as safetensors shards, in bounded memory."""
    from ptv2_scale.backbones.convert import Conversion, convert
    from ptv2_scale.progress import Progress

    target = Path(arguments.target)
    convert(Conversion(Path(arguments.source), arguments.dtype), target, Progress())
    print(target)


def schema(arguments: argparse.Namespace) -> None:
    """Print the JSON schema of recipes, for editors."""
    from ptv2_scale.config.schema import json_schema

    print(json.dumps(json_schema(), indent=1))


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(
        prog="ptv2-scale",
        description="P-Tuning v2 of frozen language models sharded by DeepSpeed ZeRO-3.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=__version__)
    # DeepSpeed's launcher puts this in front of the command; the environment says the same.
    top.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(action: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        text = (action.__doc__ or "").splitlines()[0]
        made = commands.add_parser(action.__name__, help=text, description=text)
        made.set_defaults(action=action)
        return made

    for action in (train, inspect):
        one = command(action)
        one.add_argument("recipe", metavar="RECIPE", help="YAML file, or `demo`")
        one.add_argument("overrides", nargs="*", metavar="key=value", help="train.lr=5e-3 ...")
        if action is train:
            one.add_argument(
                "--resume", default="never", metavar="auto|never|PATH",
                help="continue from the newest valid checkpoint, or from this one",
            )  # fmt: skip
    one = command(evaluate)
    one.add_argument("source", metavar="EXPORT", help="folder of an export or a finished run")
    one.add_argument("overrides", nargs="*", metavar="task.key=value", help="task.path=... ...")
    one.add_argument("--split", default="validation", choices=("train", "validation", "test"))
    one.add_argument("--backbone", help="name or folder, where it is not the export's own")
    one = command(predict)
    one.add_argument("sources", nargs="+", metavar="EXPORT", help="exports on one backbone")
    one.add_argument("--input", required=True, help="JSONL with the task's columns")
    one.add_argument("--output", required=True, help="JSONL to be written; must not exist")
    one.add_argument("--backbone", help="name or folder, where it is not the exports' own")
    one = command(export)
    one.add_argument("source", metavar="RUN", help="run directory or export")
    one.add_argument("target", metavar="OUT", help="folder to be made")
    one.add_argument("--format", default="native", choices=("native", "peft"))
    one = command(convert)
    one.add_argument("source", metavar="FOLDER", help="backbone with pytorch_model*.bin")
    one.add_argument(
        "target", metavar="OUT", help="folder to be made; goes on where it was stopped"
    )
    one.add_argument("--dtype", default="bf16", choices=("bf16", "fp32"))
    command(schema)
    return top


def _quieten() -> None:
    """Libraries speak up for warnings only; DeepSpeed would print its whole configuration."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
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
    arguments: Any = parser().parse_args(argv)
    _quieten()
    if arguments.action is not schema:
        _choose_accelerator()
    try:
        arguments.action(arguments)
    except UserError as error:
        # Under a launcher every rank finds the same mistake; one of them says it.
        if os.environ.get("RANK", "0") == "0":
            print(f"ptv2-scale: {error}", file=sys.stderr)
        return 2
    return 0


def run() -> NoReturn:
    """The program: `main`, then out at once.

    C++ threads of the libraries (gloo, Arrow, DeepSpeed's extension) are torn down in no order at a
    normal exit; one finished run among about a hundred was seen to end in -6 there.
    """
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
