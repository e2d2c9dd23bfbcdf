"""What a recipe takes from the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator

from ptv2_scale.backbones.load import hub_item
from ptv2_scale.config import RunConfig
from ptv2_scale.hub import HubItem
from ptv2_scale.tasks.registry import PUBLISHED


def hub_items(config: RunConfig) -> tuple[HubItem, ...]:
    """Backbone, tokenizer and data set of a recipe, as far as they are on the hub; each once.

    Raises:
        UserError: a name is neither a folder nor one that the hub could have.
    """
    return tuple(dict.fromkeys(_items(config)))


def _items(config: RunConfig) -> Iterator[HubItem]:
    backbone = config.backbone
    named = [(backbone.name, backbone.revision)]
    named += [] if backbone.tokenizer is None else [(backbone.tokenizer, None)]
    for name, revision in named:
        item = hub_item(name, revision)
        if item is not None:
            yield item
    task = PUBLISHED.get(config.task.name)
    if task is not None and config.task.path is None:
        yield HubItem("dataset", task.dataset, subset=task.subset)
