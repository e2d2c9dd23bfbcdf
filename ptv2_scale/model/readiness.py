"""What can be known of a run before its ranks start: one check, for training and for launches.

PyTorch is loaded only to open a backbone that is here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ptv2_scale.backbones.naming import named_folder
from ptv2_scale.config import RunConfig
from ptv2_scale.config.deepspeed import AUTO, deepspeed_of, hpz_size
from ptv2_scale.config.trackers import check_trackers
from ptv2_scale.data.dealing import accumulation
from ptv2_scale.data.splits import HubSplits, LocalSplits, Split
from ptv2_scale.hub import FETCH_FIRST, HubItem, cached_snapshot
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.rank_env import rank_env
from ptv2_scale.tasks.catalogue import splits_of

if TYPE_CHECKING:
    from ptv2_scale.model.setup import Setup

_USED: tuple[Split, ...] = ("train", "validation")


@dataclass(frozen=True)
class RankCounts:
    """How many ranks there are.

    Attributes:
        world: ranks of all hosts.
        per_host: ranks of a host, each number once.
    """

    world: int
    per_host: frozenset[int]

    @classmethod
    def of(cls, slots: Collection[int]) -> RankCounts:
        """Those of hosts with so many ranks each."""
        return cls(sum(slots), frozenset(slots))

    @classmethod
    def of_environment(cls, environ: Mapping[str, str]) -> RankCounts:
        """Those that this process is one of.

        Raises:
            UserError: the environment contradicts itself.
        """
        place = rank_env(environ)
        return cls.of([1]) if place is None else cls(place.world, frozenset({place.per_host}))


def check_recipe(config: RunConfig, ranks: RankCounts) -> None:
    """Refuse a recipe that ranks would refuse, as far as its words and this host's packages say.

    Args:
        config: the recipe.
        ranks: that it is to run on.

    Raises:
        UserError: names all that is wrong: batches that cannot be divided, a DeepSpeed JSON,
            trackers, a task or backbone that cannot be had.
    """
    _all_of(
        lambda: _check_division(config, ranks),
        lambda: _check_deepspeed(config, ranks),
        lambda: check_trackers(config.trackers),
        lambda: _check_baseline(config),
        lambda: _data_files(config),
        lambda: _check_kept(config),
        lambda: _check_names(config),
    )


def check_files(config: RunConfig, *, offline: bool) -> None:
    """Refuse a recipe whose files are not on this host.

    Args:
        config: the recipe.
        offline: whether what is on the hub must be in this host's cache.

    Raises:
        UserError: names all that is missing.
    """
    missing = [*_missing_paths(config), *(_missing_items(config) if offline else ())]
    if missing:
        raise UserError("\n".join(missing))


def open_ready(config: RunConfig, ranks: RankCounts) -> Setup:
    """Open what a recipe names, once all is checked that can be known before ranks start.

    Raises:
        UserError: see `check_recipe`; the backbone cannot be had or prompted, it has no room for
            prefix and text, or no head for the task.
    """
    check_recipe(config, ranks)
    # Here alone: a launch of what is not on this host does without PyTorch.
    from ptv2_scale.model.setup import build_model, open_setup

    setup = open_setup(config)
    build_model(setup)
    return setup


def is_here(config: RunConfig) -> bool:
    """Whether all that a recipe reads is on this host, without a download."""
    return not any(_missing_paths(config)) and not any(_missing_items(config))


def _all_of(*checks: Callable[[], object]) -> None:
    """Make all checks, and raise what is wrong as one error."""
    found: list[str] = []
    for check in checks:
        try:
            check()
        except UserError as error:
            found.append(str(error))
    if found:
        raise UserError("\n".join(dict.fromkeys(found)))


def _check_division(config: RunConfig, ranks: RankCounts) -> None:
    train = config.train
    size = 1 if train.micro_batch == "auto" else train.micro_batch
    accumulation(train.global_batch, size, ranks.world, train.micro_batch_by)


def _check_deepspeed(config: RunConfig, ranks: RankCounts) -> None:
    if config.deepspeed == AUTO:  # ranks choose one that works on them
        return
    zero = deepspeed_of(config)["zero_optimization"]
    for per_host in ranks.per_host if "zero_hpz_partition_size" in zero else ():
        hpz_size(zero, ranks.world, per_host)


def _check_baseline(config: RunConfig) -> None:
    if config.train.head_only_baseline and config.prompt.TRAINS_BACKBONE:
        raise UserError(
            f"train.head_only_baseline and prompt.method: {config.prompt.method} contradict each"
            " other: the baseline needs the backbone as it was before training. Run the recipe"
            " once more with 'prompt={method: none}' instead."
        )


def _check_kept(config: RunConfig) -> None:
    if config.train.weight_decay and config.prompt.keeps_first_values:
        raise UserError(
            f"train.weight_decay: found {config.train.weight_decay}, which would shrink what is to"
            " keep its first values by prompt.frozen_tokens or prompt.parts. Set"
            " train.weight_decay: 0."
        )


def _check_names(config: RunConfig) -> None:
    for name in filter(None, (config.backbone.name, config.backbone.tokenizer)):
        named_folder(name)


def _data_files(config: RunConfig) -> dict[str, Path]:
    """The files of the splits that a run reads, by the keys that name them."""
    return {
        f"{key}.{split}": splits.path(split)
        for key, task in config.task.single.items()
        if isinstance(splits := splits_of(task), LocalSplits)
        for split in _USED
    }


def _models(config: RunConfig) -> Iterator[Path | HubItem]:
    backbone = config.backbone
    for name, revision in ((backbone.name, backbone.revision), (backbone.tokenizer, None)):
        if name is not None:
            folder = named_folder(name)
            item = HubItem("model", name, revision, code=backbone.trust_remote_code)
            yield item if folder is None else folder


def _missing_paths(config: RunConfig) -> Iterator[str]:
    folders = [model for model in _models(config) if isinstance(model, Path)]
    for folder in folders:
        if not os.path.isdir(folder):
            yield f"{folder}: no such folder. Correct backbone.name or backbone.tokenizer."
    yield from _missing_data(config)
    for what, path in config.prompt.files().items():
        if not path.exists():
            yield f"{path}: no such file or folder; it was named as the {what}."


def _missing_data(config: RunConfig) -> Iterator[str]:
    tasks = config.task.single
    folders = {key: task.path for key, task in tasks.items() if task.path is not None}
    missing = {key for key, folder in folders.items() if not os.path.isdir(folder)}
    for key in sorted(missing):
        yield f"{folders[key]}: no such folder. Correct {key}.path."
    for key, path in _data_files(config).items():
        section = key.rpartition(".")[0]
        if section not in missing and not os.path.isfile(path):
            yield f"{path}: no such file. Correct {section}.path or {key}."


def _missing_items(config: RunConfig) -> Iterator[str]:
    items = [model for model in _models(config) if isinstance(model, HubItem)]
    all_splits = map(splits_of, config.task.single.values())
    items += [
        HubItem("dataset", splits.dataset, subset=splits.subset)
        for splits in all_splits
        if isinstance(splits, HubSplits)
    ]
    for item in items:
        if cached_snapshot(item) is None:
            yield f"{item}: no folder, and not in the cache of the hub. {FETCH_FIRST}."
