"""The command line: one plain function a command, PyTorch loaded only when one needs it.

Exit codes: 0 done, 2 the user's input is wrong, 3 a rank or host failed, 75 stopped by a request
with everything saved (run me again).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ptv2_scale import __version__
from ptv2_scale.config import RunConfig, load_recipe
from ptv2_scale.demo import RECIPE as DEMO_RECIPE
from ptv2_scale.errors import UserError
from ptv2_scale.launchers import output
from ptv2_scale.launchers.membership import become
from ptv2_scale.launchers.options import add_hosts, add_options

if TYPE_CHECKING:
    from ptv2_scale.engine.ranks import Ranks
    from ptv2_scale.engine.watch.thread import Watch
    from ptv2_scale.inputs import Inputs
    from ptv2_scale.launchers.plan import Plan

_EXAMPLES = """examples:
  ptv2-scale train demo
  ptv2-scale train recipes/rte.yaml backbone.name=./t5-large train.lr=5e-3
  ptv2-scale launch recipes/rte.yaml --nproc 8 --max-restarts 3 --resume auto
  ptv2-scale doctor recipes/rte.yaml --hostfile hosts
  ptv2-scale fetch recipes/rte.yaml --hostfile hosts
  deepspeed --num_gpus 8 --module ptv2_scale train recipes/rte.yaml --resume auto
  ptv2-scale predict runs/rte --input new.jsonl --output labelled.jsonl
  ptv2-scale export runs/rte ./rte-peft --format peft
  ptv2-scale convert ./glm-10b ./glm-10b-safetensors
"""


# Ranks that lose another one notice it after watchdog.silence, and then need some time to end.
_END_S = 40.0


def recipe_path(name: str) -> Path:
    """The file of a recipe; `demo` is the embedded one unless a file is called so."""
    return DEMO_RECIPE if name == "demo" and not Path(name).exists() else Path(name)


def _load(arguments: argparse.Namespace) -> tuple[RunConfig, Path]:
    path = recipe_path(arguments.recipe)
    config = load_recipe(path, arguments.overrides)
    name = arguments.recipe if path == DEMO_RECIPE else path.stem
    if config.run is None and name in ("", ".", ".."):
        raise UserError(f"{path}: its name gives none for a run directory; set run=PATH.")
    return config, Path(config.run or Path("runs") / name)


def train(arguments: argparse.Namespace) -> int:
    """Train a recipe's prompt, evaluate it, export it."""
    output.start(int(os.environ.get("RANK", "0")))
    config, path = _load(arguments)
    from ptv2_scale.engine.run import Opened, Run, open_recipe
    from ptv2_scale.engine.session import together
    from ptv2_scale.launchers.restarts import resume_of
    from ptv2_scale.summary import summary

    resume = resume_of(arguments.resume, os.environ)

    def action(ranks: Ranks, opened: Opened, watch: Watch) -> None:
        result = Run(opened, path, resume, ranks, watch).train()
        if ranks.first:
            print(summary(result, path))

    return together(lambda: (config, open_recipe(config)), action, graceful=True)


def launch(arguments: argparse.Namespace) -> int:
    """Train on the ranks of one host or many; restart after failures."""
    from ptv2_scale.config.values import seconds
    from ptv2_scale.files import replace_own
    from ptv2_scale.launchers.environment import new_name
    from ptv2_scale.launchers.node import CONFIG_MADE_BY
    from ptv2_scale.launchers.options import plan_of, slurm_overrides, torchrun_restarts
    from ptv2_scale.launchers.supervise import Supervisor

    train = ("train", arguments.recipe, *arguments.overrides)
    arguments.overrides = [*arguments.overrides, *slurm_overrides(arguments)]
    config, path = _load(arguments)
    if arguments.slurm:
        return _launch_by_slurm(arguments, train, config, path)
    plan = plan_of(arguments, train, path, _devices)
    if arguments.dry_run:
        print(plan.resumed(arguments.resume).describe(new_name()))
        return 0
    if len(plan.hosts) > 1 and not arguments.no_doctor:
        code = _preflight(plan, config, arguments.recipe)
        if code:
            return code
    patience = seconds(config.watchdog.silence) + _END_S
    for file, content in plan.files.items():
        replace_own(file, content, CONFIG_MADE_BY)
    restarts = arguments.max_restarts - torchrun_restarts(arguments)
    supervisor = Supervisor(plan, arguments.resume, restarts, arguments.backoff, patience)
    return supervisor.stay()


def _preflight(plan: Plan, config: RunConfig, recipe: str) -> int:
    from ptv2_scale.launchers.doctor.report import preflight
    from ptv2_scale.launchers.doctor.visit import Visit
    from ptv2_scale.launchers.reach import Hosts

    slots = {host.name: host.slots for host in plan.group.hosts}
    hosts = Hosts(plan.remote, slots, plan.variables, plan.group.master)
    visit = Visit(hosts, plan.group.master, plan.group.port, _inputs(config, recipe), plan.run)
    return preflight(visit)


def _launch_by_slurm(
    arguments: argparse.Namespace, train: tuple[str, ...], config: RunConfig, path: Path
) -> int:
    from ptv2_scale.launchers.options import slurm_job_of
    from ptv2_scale.launchers.slurm import render, submit

    job = slurm_job_of(arguments, train, config.slurm, path)
    script = render(job)
    if arguments.dry_run:
        print(script, end="")
        return 0
    number = submit(script, job.script, job.variables.secret)
    print(f"job {number}: {job.script}\nits output: {job.shown_log(number)}")
    print(f"watch: squeue --jobs={number}\ncancel: scancel {number}")
    return 0


def _inputs(config: RunConfig, recipe: str) -> Inputs:
    from ptv2_scale.inputs import inputs_of

    return inputs_of(config, recipe_path(recipe))


def doctor(arguments: argparse.Namespace) -> int:
    """Look at all hosts of a launch, and say what ranks would stumble over."""
    from ptv2_scale.launchers.doctor.judge import judge
    from ptv2_scale.launchers.doctor.report import exit_code, summary, table
    from ptv2_scale.launchers.doctor.visit import Visit
    from ptv2_scale.launchers.options import meeting_place, ssh_of
    from ptv2_scale.launchers.reach import hosts_of

    config, run = (None, None) if arguments.recipe is None else _load(arguments)
    ranks = None if not arguments.slurm else config.slurm.ranks if config else 1
    hosts = hosts_of(arguments.hostfile, ssh_of(arguments), ranks, os.environ)
    master, port = meeting_place(arguments.master, hosts.master)
    inputs = None if config is None else _inputs(config, arguments.recipe)
    visit, began = Visit(hosts, master, port, inputs, run), time.monotonic()
    findings = judge(visit.survey())
    print(table(findings))
    print(summary(findings, visit, time.monotonic() - began))
    return exit_code(findings)


def fetch(arguments: argparse.Namespace) -> int:
    """Bring what a recipe takes from the Hugging Face hub to all its hosts, at one commit."""
    from ptv2_scale.launchers.fetch.everywhere import LostError, fetch_all
    from ptv2_scale.launchers.fetch.report import pins, table
    from ptv2_scale.launchers.options import ssh_of
    from ptv2_scale.launchers.reach import hosts_of

    config, _ = _load(arguments)
    ranks = config.slurm.ranks if arguments.slurm else None
    hosts = hosts_of(arguments.hostfile, ssh_of(arguments), ranks, os.environ)
    items = _inputs(config, arguments.recipe).hub
    if not items:
        print(f"{arguments.recipe}: takes nothing from the hub")
        return 0
    try:
        rows = fetch_all(items, hosts)
    except LostError as error:
        print(f"ptv2-scale: {error}", file=sys.stderr)
        return 3
    print(table(rows), *pins(rows, config.backbone.name), sep="\n")
    return 0


def _devices() -> int:
    import torch

    return torch.accelerator.device_count() or 1


def evaluate(arguments: argparse.Namespace) -> int:
    """Score an export on a split of its task."""
    from ptv2_scale.engine.serve import Export, Server, open_export
    from ptv2_scale.engine.session import together
    from ptv2_scale.summary import verdict

    def prepare() -> tuple[RunConfig, Export]:
        export = open_export(Path(arguments.source), arguments.backbone, arguments.overrides)
        return export.setup.config, export

    def action(ranks: Ranks, export: Export, watch: Watch) -> None:
        metrics, majority = Server([export], ranks).evaluate(export.name, arguments.split)
        name = export.setup.task.metric.name
        found = {"split": arguments.split, "metric": name, "value": metrics[name]}
        if ranks.first:
            print(json.dumps({**found, "majority": majority, "metrics": metrics}))
            print(verdict(name, metrics[name], majority), file=sys.stderr)

    return together(prepare, action)


def predict(arguments: argparse.Namespace) -> int:
    """Label the rows of a JSONL file with one or more exports."""
    from ptv2_scale.data.sources import Row
    from ptv2_scale.engine.serve import Export, Server, open_export
    from ptv2_scale.engine.session import together
    from ptv2_scale.predictions import check_output, read_input, write_predictions

    output = Path(arguments.output)

    def prepare() -> tuple[RunConfig, tuple[list[Export], list[Row]]]:
        check_output(output)
        exports = [open_export(Path(source), arguments.backbone) for source in arguments.sources]
        columns = [column for export in exports for column in export.setup.task.columns]
        rows = read_input(Path(arguments.input), columns)
        return exports[0].setup.config, (exports, rows)

    def action(ranks: Ranks, opened: tuple[list[Export], list[Row]], watch: Watch) -> None:
        exports, rows = opened
        server = Server(exports, ranks)
        found = {export.name: list(server.predict(export.name, rows)) for export in exports}
        if ranks.first:
            write_predictions(output, rows, found)
            print(f"{len(rows)} rows -> {output}", file=sys.stderr)

    return together(prepare, action)


def export(arguments: argparse.Namespace) -> int:
    """Write what a run has trained as a folder of its own, ours or PEFT's."""
    from ptv2_scale.engine.take_away import export_run
    from ptv2_scale.export import export_peft

    source, target = Path(arguments.source), Path(arguments.target)
    if arguments.format == "peft":
        export_peft(source, target)
    else:
        export_run(source, target)
    print(target)
    return 0


def inspect(arguments: argparse.Namespace) -> int:
    """Show where a recipe's prefix lies, and how much of the model is trained."""
    from ptv2_scale.inspection import describe

    config, _ = _load(arguments)
    print(describe(config))
    return 0


def convert(arguments: argparse.Namespace) -> int:
    """Write a backbone's folder anew as safetensors shards, in bounded memory."""
    from ptv2_scale.backbones.convert import Conversion, convert
    from ptv2_scale.progress import Progress

    target = Path(arguments.target)
    convert(Conversion(Path(arguments.source), arguments.dtype), target, Progress())
    print(target)
    return 0


def schema(arguments: argparse.Namespace) -> int:
    """Print the JSON schema of recipes, for editors."""
    from ptv2_scale.config.schema import json_schema

    print(json.dumps(json_schema(), indent=1))
    return 0


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

    def command(action: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        text = (action.__doc__ or "").splitlines()[0]
        made = commands.add_parser(action.__name__, help=text, description=text)
        made.set_defaults(action=action)
        return made

    for action in (train, launch, inspect, doctor, fetch):
        one = command(action)
        one.add_argument(
            "recipe", metavar="RECIPE", help="YAML file, or `demo`",
            nargs="?" if action is doctor else None,
        )  # fmt: skip
        one.add_argument("overrides", nargs="*", metavar="key=value", help="train.lr=5e-3 ...")
        if action in (train, launch):
            one.add_argument(
                "--resume", default="never", metavar="auto|never|PATH",
                help="continue from the newest valid checkpoint, or from this one",
            )  # fmt: skip
        if action is launch:
            add_options(one)
        if action in (doctor, fetch):
            add_hosts(one)
        if action is doctor:
            one.add_argument(
                "--master", metavar="ADDRESS[:PORT]", help="where ranks meet; default: first host"
            )
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


def _parse(argv: Sequence[str] | None) -> Any:
    """Arguments of a command; key=value may stand behind options too, where argparse wants none."""
    grammar = parser()
    arguments, rest = grammar.parse_known_args(argv)
    late = [text for text in rest if "=" in text and not text.startswith("-")]
    if len(late) < len(rest) or (late and not hasattr(arguments, "overrides")):
        grammar.error(f"unrecognized arguments: {' '.join(rest)}")
    if late:
        arguments.overrides = [*arguments.overrides, *late]
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    arguments = _parse(argv)
    try:
        if arguments.action in (train, evaluate, predict):
            become(os.environ)
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
