"""A run's newest numbers in Prometheus' text format, for node_exporter's textfile collector.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format; the collector reads
files whose names end with .prom whenever it is asked, so each is replaced whole.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ptv2_scale.runtime.atomic import write_atomically
from ptv2_scale.runtime.metrics_file import metrics_of

_EVERY = 5.0  # seconds between two files; Prometheus asks every 15 s to 60 s
_PREFIX = "ptv2_scale"
# Numbers of records by their keys, as they are called and described.
_GAUGES: Mapping[str, tuple[str, str]] = {
    "step": ("step", "Optimizer steps made."),
    "epoch": ("epoch", "Passes over the training data."),
    "loss": ("loss", "Mean training loss of the last step."),
    "learning_rate": ("learning_rate", "Learning rate of the last step."),
    "gradient_norm": ("gradient_norm", "Gradient norm of the last step before clipping."),
    "seconds": ("step_seconds", "Wall-clock time of the last step."),
    "wall_seconds": ("wall_seconds", "Wall-clock time of the run, all its processes together."),
    "validation_loss": ("validation_loss", "Loss of the last evaluation."),
}


class PrometheusFile:
    """The file of one run.

    Args:
        path: of the file, which is replaced.
        run: name of the run, a label of every number.
        warn: hears, once, that the file cannot be written.
    """

    def __init__(self, path: Path, run: str, warn: Callable[[str], None]) -> None:
        self._path, self._run, self._warn = path, run, warn
        self._values: dict[str, float] = {}
        self._metrics: dict[str, float] = {}
        self._written, self._warned = -math.inf, False

    def record(self, record: Mapping[str, Any]) -> None:
        """Take in a record of metrics.jsonl; the file is written now and then."""
        self._values |= {key: record[key] for key in _GAUGES if key in record}
        evaluated = record.get("event") == "evaluation"
        if evaluated:
            self._metrics = metrics_of(record)
        if evaluated or time.monotonic() - self._written >= _EVERY:
            self._write(running=True)

    def finish(self) -> None:
        """Write the last numbers, and that the run is not running any more."""
        self._write(running=False)

    def _write(self, *, running: bool) -> None:
        self._written = time.monotonic()
        try:
            write_atomically(self._path, "".join(self._lines(running)))
        except OSError as error:
            if not self._warned:
                self._warned = True
                self._warn(
                    f"warning: train.prometheus: {self._path}: cannot be written"
                    f" ({error.strerror}); metrics.jsonl has all numbers"
                )

    def _lines(self, running: bool) -> Iterator[str]:
        for key, (name, text) in _GAUGES.items():
            if key in self._values:
                yield from _gauge(name, text, [({"run": self._run}, self._values[key])])
        found = [({"run": self._run, "metric": name}, n) for name, n in self._metrics.items()]
        if found:
            yield from _gauge("validation_metric", "Metrics of the last evaluation.", found)
        own = {"run": self._run}
        yield from _gauge("running", "1 while the run is running.", [(own, float(running))])
        yield from _gauge("updated_seconds", "Unix time of this file.", [(own, time.time())])


def _gauge(name: str, text: str, values: list[tuple[dict[str, str], float]]) -> Iterator[str]:
    yield f"# HELP {_PREFIX}_{name} {text}\n# TYPE {_PREFIX}_{name} gauge\n"
    for labels, value in values:
        named = ",".join(f'{label}="{_escaped(one)}"' for label, one in labels.items())
        yield f"{_PREFIX}_{name}{{{named}}} {_number(value)}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(float(value))
    return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
