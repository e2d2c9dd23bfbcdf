"""What a recipe reads: files and folders that every host must have, and what is on the hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ptv2_scale.backbones.naming import named_folder
from ptv2_scale.config import RunConfig
from ptv2_scale.config.deepspeed import AUTO, deepspeed_of, shipped_configs
from ptv2_scale.data.splits import HubSplits, LocalSplits, Splits
from ptv2_scale.hub import HubItem
from ptv2_scale.tasks.catalogue import splits_of


@dataclass(frozen=True)
class Inputs:
    """What a recipe reads.

    Attributes:
        paths: files and folders, by what they are: "recipe", "backbone", "training data", ...
        hub: models, tokenizers and data sets of the hub.
        gathered: whether ranks gather the backbone from all hosts in every pass: ZeRO-3 does,
            but for hpZ, which keeps a copy within each host. Not known, and so not said, where
            `deepspeed: auto` leaves it to the ranks.
        dtype: `backbone.dtype`.
    """

    paths: dict[str, Path]
    hub: tuple[HubItem, ...]
    gathered: bool
    dtype: str


def inputs_of(config: RunConfig, recipe: Path) -> Inputs:
    """What a recipe reads, by its words alone: but for DeepSpeed's JSON nothing is opened.

    Args:
        config: the recipe.
        recipe: its file.

    Raises:
        UserError: the backbone is a preset, the task's name is not known, a split has no file, or
            DeepSpeed's JSON is wrong.
    """
    backbone, tasks = config.backbone, config.task.single
    splits = {key: splits_of(task) for key, task in tasks.items()}
    revisions = {"backbone": backbone.revision, "tokenizer": None}
    folders, hub = {}, []
    for what, name in (("backbone", backbone.name), ("tokenizer", backbone.tokenizer)):
        folder = None if name is None else named_folder(name)
        if folder is not None:
            folders[what] = folder
        elif name is not None:
            code = backbone.trust_remote_code
            hub.append(HubItem("model", name, revisions[what], code=code))
    hub += [
        HubItem("dataset", one.dataset, subset=one.subset)
        for one in splits.values()
        if isinstance(one, HubSplits)
    ]
    return Inputs(
        {"recipe": recipe, **folders, **dict(_data(splits)), **dict(_named(config))},
        tuple(dict.fromkeys(hub)),
        _gathered(config),
        backbone.dtype,
    )


def _data(splits: Mapping[str, Splits]) -> Iterator[tuple[str, Path]]:
    for key, one in splits.items():
        of = f" of {key}" if len(splits) > 1 else ""
        if isinstance(one, LocalSplits):
            yield f"training data{of}", one.path("train")
            yield f"validation data{of}", one.path("validation")


def _named(config: RunConfig) -> Iterator[tuple[str, Path]]:
    if config.deepspeed not in (AUTO, *shipped_configs()):
        yield "DeepSpeed's JSON", Path(config.deepspeed)
    yield from config.prompt.files().items()


def _gathered(config: RunConfig) -> bool:
    if config.deepspeed == AUTO:
        return False
    zero = deepspeed_of(config)["zero_optimization"]
    return bool(zero["stage"] == 3 and "zero_hpz_partition_size" not in zero)
