"""A recipe's `task` becomes a `Task`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ptv2_scale import demo
from ptv2_scale.config.recipe import Task as TaskConfig
from ptv2_scale.errors import UserError, did_you_mean
from ptv2_scale.tasks import glue, superglue
from ptv2_scale.tasks.base import Split, Task
from ptv2_scale.tasks.classification import ClassificationTask, LabelFormat, found_labels
from ptv2_scale.tasks.metrics import metric_named
from ptv2_scale.tasks.published import Published
from ptv2_scale.tasks.splits import HubSplits, LocalSplits, Splits
from ptv2_scale.tasks.text import TextFormat

PUBLISHED = {task.name: task for task in (*superglue.TASKS, *glue.TASKS)}
OWN = "classification"
DEMO = "demo"
TASK_NAMES = (*PUBLISHED, DEMO, OWN)

DEMO_FOLDER = Path(demo.__file__).parent / "task"
DEMO_FILES: Mapping[Split, str] = {"train": "train.jsonl", "validation": "validation.jsonl"}


def build_task(config: TaskConfig) -> Task:
    """The task of a recipe.

    Nothing is read here, but the training split where a task's labels are those found in it
    (`demo` and `classification` without `task.labels`).

    Raises:
        UserError: the name is not known, or a key is missing or of no meaning for this task.
    """
    if config.name == OWN:
        return _own(config)
    if config.name == DEMO:
        return _demo(config)
    return _published(config, _published_named(config.name))


def splits_of(config: TaskConfig) -> Splits:
    """Where a recipe's task reads its rows; nothing is read here.

    Raises:
        UserError: see `build_task`.
    """
    if config.name == OWN:
        return _own_splits(config)
    if config.name == DEMO:
        return _demo_splits(config)
    return _published_splits(config, _published_named(config.name))


def _published_named(name: str) -> Published:
    if name not in PUBLISHED:
        raise UserError(
            f"task.name: found '{name}', allowed: {', '.join(TASK_NAMES)}."
            + did_you_mean(name, TASK_NAMES)
        )
    return PUBLISHED[name]


def _published_splits(config: TaskConfig, task: Published) -> Splits:
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
            f"task.path: missing, but task.name: {OWN} reads local files. Set task.path=FOLDER, "
            "and task.train=FILE and task.validation=FILE inside it"
        )
    return LocalSplits(Path(config.path), _named_files(config))


def _published(config: TaskConfig, task: Published) -> Task:
    if config.labels is not None and tuple(config.labels) != task.labels:
        raise UserError(
            f"task.labels: {task.name} has the labels {', '.join(task.labels)}; leave the key out"
        )
    return _task(
        config,
        TextFormat(task.columns, task.template),
        LabelFormat(aliases=dict(zip(task.hub_labels, task.labels, strict=False))),
        task.labels,
        _published_splits(config, task),
        (config.metric or task.metric, task.metric, *task.also),
    )


def _demo(config: TaskConfig) -> Task:
    splits = _demo_splits(config)
    return _with_found_labels(config, TextFormat(("text",)), LabelFormat(), splits)


def _own(config: TaskConfig) -> Task:
    splits = _own_splits(config)
    assert config.text is not None  # the recipe's own rule
    assert config.label is not None
    columns = (config.text,) if config.text_pair is None else (config.text, config.text_pair)
    return _with_found_labels(config, TextFormat(columns), LabelFormat(config.label), splits)


def _with_found_labels(
    config: TaskConfig, text: TextFormat, label: LabelFormat, splits: Splits
) -> Task:
    if config.labels is not None:
        labels = tuple(config.labels)
    else:
        rows = splits.rows("train", (*text.columns, label.column))
        labels = found_labels(rows, label, splits.place("train"))
    return _task(config, text, label, labels, splits, (config.metric or "accuracy",))


def _named_files(config: TaskConfig) -> dict[Split, str]:
    named: dict[Split, str | None] = {
        "train": config.train,
        "validation": config.validation,
        "test": config.test,
    }
    if config.path is None and any(named.values()):
        raise UserError("task.train, task.validation and task.test name files inside task.path")
    return {split: file for split, file in named.items() if file is not None}


def _task(
    config: TaskConfig,
    text: TextFormat,
    label: LabelFormat,
    labels: tuple[str, ...],
    splits: Splits,
    metrics: tuple[str, ...],
) -> Task:
    if len(set(labels)) < max(len(labels), 2):
        raise UserError(f"task.labels: found {list(labels)}, expected two or more different labels")
    metric, *also = (metric_named(name, len(labels)) for name in dict.fromkeys(metrics))
    return ClassificationTask(config.name, text, label, labels, metric, tuple(also), splits)
