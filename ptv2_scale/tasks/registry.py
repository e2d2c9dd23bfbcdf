"""A recipe's `task` becomes a `Task`."""

from __future__ import annotations

from ptv2_scale.config.recipe import Task as TaskConfig
from ptv2_scale.data.splits import Splits
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import Task
from ptv2_scale.tasks.benchmarks.spec import BenchmarkSpec
from ptv2_scale.tasks.catalogue import CUSTOM, DEMO, published_task, splits_of
from ptv2_scale.tasks.kinds.classification import ClassificationTask, LabelFormat, found_labels
from ptv2_scale.tasks.metrics import metric_named
from ptv2_scale.tasks.text import TextFormat


def build_task(config: TaskConfig) -> Task:
    """The task of a recipe.

    Nothing is read here, but the training split where a task's labels are those found in it
    (`demo` and `classification` without `task.labels`).

    Raises:
        UserError: the name is not known, or a key is missing or of no meaning for this task.
    """
    if config.name == CUSTOM:
        return _own(config)
    if config.name == DEMO:
        return _demo(config)
    return _published(config, published_task(config.name))


def _published(config: TaskConfig, task: BenchmarkSpec) -> Task:
    if config.labels is not None and tuple(config.labels) != task.labels:
        raise UserError(
            f"task.labels: {task.name} has the labels {', '.join(task.labels)}; leave the key out"
        )
    return _task(
        config,
        TextFormat(task.columns, task.template),
        LabelFormat(aliases=dict(zip(task.hub_labels, task.labels, strict=False))),
        task.labels,
        splits_of(config),
        (config.metric or task.metric, task.metric, *task.also),
    )


def _demo(config: TaskConfig) -> Task:
    splits = splits_of(config)
    return _with_found_labels(config, TextFormat(("text",)), LabelFormat(), splits)


def _own(config: TaskConfig) -> Task:
    splits = splits_of(config)
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
