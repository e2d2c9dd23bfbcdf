"""What a finished run says to the person who started it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from ptv2_scale.runtime.result import Result


def verdict(metric: str, value: float, trivial: float, answer: str) -> str:
    """One line that sets a score against always giving the same answer."""
    line = f"{metric} {value:.4f}; {answer} alone scores {trivial:.4f}"
    return f"{line}: the model does NO BETTER than that." if value <= trivial else line


def _verdict_of(result: Result) -> str:
    line = verdict(result.metric, result.value, result.trivial, result.trivial_answer)
    idle = result.steps > 0 and result.value <= result.trivial
    return line + (" Try another learning rate or more epochs." if idle else "")


def _program() -> str:
    """How to call the command line from here, where its environment is not activated either."""
    if shutil.which("ptv2-scale"):
        return "ptv2-scale"
    return os.path.relpath(Path(sys.prefix) / "bin" / "ptv2-scale")


def _measured(result: Result) -> list[str]:
    """What else was measured: all metrics and the loss, the speed, and what it ran on."""
    scores = [f"{name} {value:.4f}" for name, value in result.metrics.items()]
    if result.validation_loss is not None:
        scores.append(f"loss {result.validation_loss:.4f}")
    lines = [f"{result.split}: {', '.join(scores)}"] if scores else []
    if result.examples_per_second is not None:
        lines.append(
            f"training: {result.examples_per_second:.1f} examples and"
            f" {result.tokens_per_second:.0f} tokens a second on {_devices(result)}"
        )
    if result.versions:
        lines.append(", ".join(f"{name} {version}" for name, version in result.versions.items()))
    return lines


def _devices(result: Result) -> str:
    devices = ", ".join(f"{n} x {name}" for name, n in result.hardware["devices"].items())
    cpu, hosts = result.hardware["cpu"], result.hardware["hosts"]
    return f"{devices} ({cpu}; {hosts} host{'s' * (hosts > 1)})"


def summary(result: Result, run: Path) -> str:
    """The closing lines of a run: result, share of parameters, where things lie, what next."""
    share = result.trained_parameters / (result.trained_parameters + result.backbone_parameters)
    lines = [
        "",
        f"{result.task}, {result.split}: " + _verdict_of(result),
    ]
    if result.head_only is not None:
        reported = f"a head alone on the same frozen backbone scores {result.head_only:.4f}"
        worse = result.value <= result.head_only
        lines.append(reported + (": the method brings NO GAIN over that" if worse else ""))
    lines += [
        f"trained {result.trained_parameters:,} of"
        f" {result.trained_parameters + result.backbone_parameters:,} parameters ({share:.2%})"
        f" on {result.ranks} ranks in {result.seconds:.0f} s, at most"
        f" {result.peak_memory_bytes / 2**20:.0f} MiB a rank",
        *_measured(result),
        f"prefix and head: {run / 'export'}",
        f"result: {run / 'result.json'}",
        "",
        "next:",
        f"  {_program()} evaluate {run}",
        f"  {_program()} predict {run} --input ROWS.jsonl --output LABELLED.jsonl",
        f"  {_program()} export {run} FOLDER",
    ]
    return "\n".join(lines)
