"""Which tasks there are, and where their rows lie: declarations alone, without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ptv2_scale import demo
from ptv2_scale.config.recipe import Task as TaskConfig
from ptv2_scale.data.splits import HubSplits, LocalSplits, Split, Splits
from ptv2_scale.runtime.errors import UserError, did_you_mean
from ptv2_scale.tasks.benchmarks import glue, superglue
from ptv2_scale.tasks.benchmarks.spec import BenchmarkSpec

PUBLISHED = {task.name: task for task in (*superglue.TASKS, *glue.TASKS)}
CUSTOM = "classification"
DEMO = "demo"
TASK_NAMES = (*PUBLISHED, DEMO, CUSTOM)

DEMO_FOLDER = Path(demo.__file__).parent / "task"
DEMO_FILES: Mapping[Split, str] = {"train": "train.jsonl", "validation": "validation.jsonl"}


def splits_of(config: TaskConfig) -> Splits:
    """Where a recipe's task reads its rows; nothing is read here.

    Raises:
        UserError: the task's name is not known, or its files have no folder.
    """
    if config.name == CUSTOM:
        return _own_splits(config)
    if config.name == DEMO:
        return _demo_splits(config)
    return _published_splits(config, published_task(config.name))


def published_task(name: str) -> BenchmarkSpec:
    """A published task by its name in a recipe.

    Raises:
        UserError: there is none of that name.
    """
    if name not in PUBLISHED:
        raise UserError(
            f"task.name: found '{name}', allowed: {', '.join(TASK_NAMES)}."
            + did_you_mean(name, TASK_NAMES)
        )
    return PUBLISHED[name]


def _published_splits(config: TaskConfig, task: BenchmarkSpec) -> Splits:
    files = {**task.files, **_named_files(config)}
    if config.path is None:
        return HubSplits(task.dataset, task.subset)
    return LocalSplits(Path(config.path), files, task.header, task.rename)


def _demo_splits(config: TaskConfig) -> Splits:
    folder = DEMO_FOLDER if config.path is None else Path(config.path)
    return LocalSplits(folder, {**DEMO_FILES, **_named_files(config)})


def _own_splits(config: TaskConfig) -> Splits:
    if config.path is None:
        raise UserError(
            f"task.path: missing, but task.name: {CUSTOM} reads local files. Set task.path=FOLDER, "
            "and task.train=FILE and task.validation=FILE inside it"
        )
    return LocalSplits(Path(config.path), _named_files(config))


def _named_files(config: TaskConfig) -> dict[Split, str]:
    named: dict[Split, str | None] = {
        "train": config.train,
        "validation": config.validation,
        "test": config.test,
    }
    if config.path is None and any(named.values()):
        raise UserError("task.train, task.validation and task.test name files inside task.path")
    return {split: file for split, file in named.items() if file is not None}
