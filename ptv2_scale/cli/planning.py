"""The command `plan`: what a recipe takes on some hosts, and what would make it fit."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from ptv2_scale.cli.launch_options import count
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.exit_codes import DONE
from ptv2_scale.runtime.memory import GB

if TYPE_CHECKING:
    from ptv2_scale.estimate.plan import Gpus, Plan
    from ptv2_scale.estimate.step_time import StepTime
    from ptv2_scale.estimate.traffic import Traffic
    from ptv2_scale.model.setup import Setup

_NAMES = {
    "weights": "weights: this rank's slices",
    "second_copy": "weights: hpZ's second copy",
    "masters": "fp32 values of what is trained",
    "moments": "AdamW's moments",
    "gradients": "gradients",
    "gathered": "gathered weights, at most",
    "buckets": "gradients between ranks",
    "method": "prefix or prompt in a pass",
    "activations": "activations of a micro-batch",
    "evaluation": "or, evaluating, a batch",
    "update": "or, in the optimizer's step",
}
_TRAFFIC = {
    "gathers": "a rank sends: gathered weights",
    "gradients": "a rank sends: gradients",
    "updates": "a rank sends: new values",
    "across": "a host sends to others, of all these",
    "from_host": "a rank copies from its host's memory or disk",
}


def add_plan(command: argparse.ArgumentParser) -> None:
    """Give the command its options."""
    command.add_argument("--hosts", type=count, default=1, metavar="N", help="default: 1")
    command.add_argument(
        "--gpus-per-host", type=count, default=1, metavar="G", help="ranks of a host; default: 1"
    )
    command.add_argument(
        "--gpu-memory", type=_gigabytes, metavar="GB",
        help="of a GPU, in 10^9 bytes; default: that of this machine's",
    )  # fmt: skip
    command.add_argument(
        "--gpu", choices=("A100", "H100", "H200"), help="a GPU whose time is to be estimated"
    )
    command.add_argument(
        "--rate", type=_positive, metavar="TFLOPS",
        help="10^12 operations a second that a GPU achieves; default: 40 %% of its peak",
    )  # fmt: skip
    command.add_argument(
        "--bandwidth", type=_positive, metavar="GB",
        help="10^9 bytes a second from a host to others; default: a DGX's adapters",
    )  # fmt: skip
    command.add_argument("--json", action="store_true", help="print JSON, all sizes in bytes")


def _positive(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < 1e6:
        raise argparse.ArgumentTypeError(f"found {text!r:.40}, expected a number above 0")
    return found


def _gigabytes(text: str) -> int:
    return int(_positive(text) * GB)


def plan(arguments: argparse.Namespace) -> int:
    """Show the memory that a recipe takes, from shapes alone, and what would make it fit."""
    from ptv2_scale.config import override
    from ptv2_scale.config.locate import load_run
    from ptv2_scale.estimate.plan import make_plan
    from ptv2_scale.model.setup import open_shapes

    elsewhere = (arguments.gpu_memory or arguments.gpu) is not None  # GPUs that need not be here

    def reopen(words: Sequence[str]) -> Setup:
        config, _ = load_run(arguments.recipe, [*arguments.overrides, *words])
        if config.backbone.dtype == "auto" and elsewhere:
            config = override(config, ["backbone.dtype=bf16"])
        return open_shapes(config)

    made = make_plan(reopen, _gpus(arguments))
    warnings = [] if elsewhere else _slow_here(made.setup)
    warnings += [made.undivided] if made.undivided else []
    if arguments.json:
        print(json.dumps(_as_json(arguments.recipe, made, warnings), indent=1))
    else:
        print("\n".join([*warnings, *_lines(made)]))
    return DONE


def _gpus(arguments: argparse.Namespace) -> Gpus:
    from ptv2_scale.distributed.memory import gpu_memory
    from ptv2_scale.estimate.plan import Gpus
    from ptv2_scale.estimate.step_time import GPUS
    from ptv2_scale.estimate.zero import Cluster

    named = GPUS[arguments.gpu].memory if arguments.gpu is not None else None
    memory: int | None = arguments.gpu_memory or named or gpu_memory()
    if memory is None:
        raise UserError(
            "--gpu-memory: missing, and this machine has no GPU whose memory could be taken. Give"
            " it in GB: --gpu-memory 80."
        )
    return Gpus(
        Cluster(arguments.hosts, arguments.gpus_per_host),
        memory,
        arguments.gpu,
        compute=None if arguments.rate is None else 1e12 * arguments.rate,
        across=None if arguments.bandwidth is None else GB * arguments.bandwidth,
    )


def _slow_here(setup: Setup) -> list[str]:
    """What is slow on this machine's GPUs."""
    from ptv2_scale.distributed.accelerator import accelerator_here
    from ptv2_scale.engine.hardware import slow_dtype_note

    return slow_dtype_note(accelerator_here(), setup.config.backbone.dtype)


def _as_json(recipe: str, made: Plan, warnings: list[str]) -> dict[str, object]:
    from ptv2_scale.estimate.memory import NOT_COUNTED

    ranks, config = made.gpus.ranks, made.setup.config
    return {
        "recipe": recipe,
        "hosts": ranks.hosts,
        "gpus_per_host": ranks.per_host,
        "gpu_memory": made.gpus.memory,
        "verdict": made.verdict,
        "total": made.memory.total,
        "parts": asdict(made.memory),
        "not_counted": list(NOT_COUNTED),
        "dtype": config.backbone.dtype,
        "traffic": None if made.traffic is None else asdict(made.traffic),
        "time": None if made.time is None else _time_as_json(made.time, config.train.steps),
        "deepspeed": config.deepspeed,
        "suggested_preset": made.suggested,
        "micro_batch": config.train.examples,
        "suggested_micro_batch": made.suggested_batch,
        "evaluation_micro_batch": config.evaluate.examples,
        "gradient_checkpointing": config.train.gradient_checkpointing,
        "warnings": warnings,
        "remedies": [
            {
                "words": list(one.words),
                "hosts": one.ranks.hosts,
                "gpus_per_host": one.ranks.per_host,
                "total": one.total,
            }
            for one in made.remedies
        ],
    }


def _time_as_json(time: StepTime, steps: int | None) -> dict[str, object]:
    return {
        **asdict(time),
        "seconds": time.seconds,
        "tokens_a_second": time.tokens_a_second,
        "hours": None if steps is None else time.hours(steps),
    }


def _lines(made: Plan) -> Iterator[str]:
    from ptv2_scale.estimate.memory import NOT_COUNTED

    memory, ranks, config = made.memory, made.gpus.ranks, made.setup.config
    yield (
        f"memory of a rank, {ranks.hosts} hosts x {ranks.per_host} GPUs, {config.backbone.dtype},"
        " in GB (10^9 bytes)"
    )
    yield ""
    parts = asdict(memory)
    for name, said in _NAMES.items():
        if parts[name]:
            yield _row(said, parts[name])
    yield _row("peak", memory.total)
    yield _row("GPU", made.gpus.memory)
    yield _row("memory of a host, for offloading and loading", memory.host)
    yield ""
    yield f"with deepspeed: {config.deepspeed}"
    if made.suggested != config.deepspeed:
        yield f"suggested preset: {made.suggested}, which deepspeed: auto would take here"
    yield f"with micro-batches of {config.train.examples}, evaluating {config.evaluate.examples}"
    if made.suggested_batch != config.train.examples:
        yield (
            f"suggested micro-batch: {made.suggested_batch}, which train.micro_batch: auto would"
            " take here"
        )
    yield f"with train.gradient_checkpointing: {json.dumps(config.train.gradient_checkpointing)}"
    yield f"not counted: {', '.join(NOT_COUNTED)}"
    yield ""
    if made.traffic is not None:
        yield from _traffic_lines(made.traffic)
    if made.time is not None:
        yield from _time_lines(made.time, config.train.steps)
    yield from _conclusion(made)


def _traffic_lines(traffic: Traffic) -> Iterator[str]:
    yield "traffic of a step, in GB"
    yield ""
    parts = asdict(traffic)
    for name, said in _TRAFFIC.items():
        if parts[name]:
            yield _row(said, parts[name])
    yield ""


def _time_lines(time: StepTime, steps: int | None) -> Iterator[str]:
    yield "time of a step with the longest texts, in seconds; estimated, not measured"
    yield ""
    yield f"{'computing':<46} {time.compute:>10.3f}"
    yield f"{'gathering weights, beside it':<46} {time.gathers:>10.3f}"
    yield f"{'gradients and new values':<46} {time.gradients:>10.3f}"
    yield f"{'optimizer':<46} {time.optimizer:>10.3f}"
    yield f"{'step':<46} {time.seconds:>10.3f}"
    yield f"{'tokens a second, all ranks together':<46} {time.tokens_a_second:>10,.0f}"
    count = 1000 if steps is None else steps
    yield f"{f'hours of {count:,} steps':<46} {time.hours(count):>10.2f}"
    yield ""


def _row(said: str, size: int) -> str:
    return f"{said:<46} {size / GB:>10.3f}"


def _conclusion(made: Plan) -> Iterator[str]:
    yield {
        "fits": "fits",
        "close": "close: within 10 % of the GPU's memory, which is how far estimates may be wrong",
        "does not fit": "does not fit",
    }[made.verdict]
    if made.verdict == "fits":
        return
    if not made.remedies:
        yield "nothing that was tried makes it fit: more ranks, a smaller micro-batch, shorter"
        yield "texts, checkpointing, weights on the CPU, and all of these together"
    else:
        yield "each of these would make it fit:"
    for one in made.remedies:
        more = [] if one.ranks == made.gpus.ranks else [f"--hosts {one.ranks.hosts}"]
        yield f"  {' '.join([*one.words, *more]):<60} {one.total / GB:>8.3f} GB"
