"""Which benchmarks there are, and where their rows lie: declarations alone, without PyTorch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from ptv2_scale import demo
from ptv2_scale.config import TASKS, Quoting, TaskSection
from ptv2_scale.data.splits import HubSplits, Layout, LocalSplits, Split, Splits
from ptv2_scale.runtime.errors import UserError, did_you_mean
from ptv2_scale.tasks.benchmarks import glue, squad, superglue, tagged
from ptv2_scale.tasks.benchmarks.spec import BenchmarkSpec

BENCHMARKS: dict[str, BenchmarkSpec] = {
    spec.name: spec for module in (superglue, glue, tagged, squad) for spec in module.TASKS
}
DEMO = "demo"

DEMO_FOLDER = Path(demo.__file__).parent / "task"
EMBEDDED: Mapping[str, Path] = {"demo-tags": Path(demo.__file__).parent / "tags"}
DEMO_FILES: Mapping[Split, str] = {"train": "train.jsonl", "validation": "validation.jsonl"}


def benchmarks_that_fit(found: Collection[str], used: Collection[str]) -> list[str]:
    """Benchmarks that read all of the `used` columns and others that are `found` beside them."""
    return [
        name
        for name, spec in BENCHMARKS.items()
        if set(used) < set(spec.columns) and set(spec.columns) <= set(found)
    ]


def splits_of(config: TaskSection) -> Splits:
    """Where a recipe's task reads its rows; nothing is read here.

    Raises:
        UserError: the task's name is not known, or its files have no folder.
    """
    if is_custom(config):
        return _custom_splits(config)
    if config.name == DEMO:
        return _demo_splits(config)
    return _published_splits(config, benchmark(config))


def is_custom(config: TaskSection) -> bool:
    """Whether a recipe describes data of the user's own; kinds of other packages have no other."""
    return config.name == config.kind or not config.NAMES


def benchmark(config: TaskSection) -> BenchmarkSpec:
    """The published benchmark that a recipe names.

    Raises:
        UserError: there is none of that name, or it is of another kind than the recipe says.
    """
    if config.name not in config.NAMES:
        raise UserError(
            f"task.name: found '{config.name}', allowed: {', '.join(_known_names())}."
            + did_you_mean(config.name, _known_names())
        )
    return BENCHMARKS[config.name]


def _known_names() -> list[str]:
    return [name for model in TASKS.models() for name in model.NAMES]


def _published_splits(config: TaskSection, spec: BenchmarkSpec) -> Splits:
    files = {**spec.files, **_named_files(config)}
    quoting = _quoting(config, spec.quoting)
    layout = Layout(spec.header, spec.rename, quoting, spec.skip_short)
    if config.path is None and spec.dataset is not None:
        return HubSplits(spec.dataset, spec.subset, layout, spec.hub_splits)
    folder = Path(config.path) if config.path is not None else EMBEDDED.get(spec.name)
    if folder is None:
        raise UserError(
            f"task.path: missing, and {spec.name} is not on the hub in a form that can be read"
            f" without running its code. Set task.path=FOLDER, with {', '.join(files.values())}"
        )
    return LocalSplits(folder, files, layout)


def _demo_splits(config: TaskSection) -> Splits:
    folder = DEMO_FOLDER if config.path is None else Path(config.path)
    return LocalSplits(folder, {**DEMO_FILES, **_named_files(config)}, _layout(config))


def _custom_splits(config: TaskSection) -> Splits:
    if config.path is None:
        raise UserError(
            f"task.path: missing, but task.name: {config.name} reads local files. Set"
            " task.path=FOLDER, and task.train=FILE and task.validation=FILE inside it"
        )
    return LocalSplits(Path(config.path), _named_files(config), _layout(config))


def _layout(config: TaskSection) -> Layout:
    return Layout(quoting=_quoting(config))


def _quoting(
    config: TaskSection, published: Mapping[str, Quoting] | None = None
) -> Mapping[str, Quoting]:
    if config.quoting is None:
        return published or {}
    return {".csv": config.quoting, ".tsv": config.quoting}


def _named_files(config: TaskSection) -> dict[Split, str]:
    named: dict[Split, str | None] = {
        "train": config.train,
        "validation": config.validation,
        "test": config.test,
    }
    if config.path is None and any(named.values()):
        raise UserError("task.train, task.validation and task.test name files inside task.path")
    return {split: file for split, file in named.items() if file is not None}
