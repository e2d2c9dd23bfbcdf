"""Which tensor of a backbone's files fills which parameter, and that none of them is left over.

A tensor that the built model has no place for was part of the arithmetic of the model as published:
a bias that config.json does not ask for, an adapter, a layer too many. Left out, the model would
run and compute something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from ptv2_scale.backbones.family import Family
from ptv2_scale.backbones.quantised import QUANTISED_TENSOR, quantised
from ptv2_scale.runtime.errors import UserError


@dataclass(frozen=True)
class Matching:
    """Parameters and tensors of one backbone.

    Attributes:
        sources: each name of a parameter -> the tensors in the files that hold its values.
        missing: parameters without a tensor.
        unused: tensors of the backbone without a parameter.
    """

    sources: Mapping[str, Sequence[str]]
    missing: Sequence[str]
    unused: Sequence[str]


def shared_parameters(module: nn.Module) -> Iterator[tuple[list[str], nn.Parameter]]:
    """Each parameter once, with all the names it goes by (tied weights have several)."""
    names: dict[int, list[str]] = {}
    parameters: dict[int, nn.Parameter] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
        parameters[id(parameter)] = parameter
    for key, parameter in parameters.items():
        yield names[key], parameter


def match(model: Any, family: Family, present: Sequence[str]) -> Matching:
    """Match a model's parameters with the tensors of its files.

    Args:
        model: without a task head.
        family: its family.
        present: names in the files, with and without the base model's prefix.
    """
    prefix, stored = f"{model.base_model_prefix}.", set(present)
    sources: dict[str, list[str]] = {}
    missing = []
    for names, _ in shared_parameters(model):
        found = [key for name in names for key in (name, prefix + name) if key in stored]
        sources.update(dict.fromkeys(names, found))
        missing += [] if found else names[:1]
    used = {key for keys in sources.values() for key in keys}
    left_over = sorted(stored - used - _expected(model, family, stored - used, prefix))
    # Where the backbone has a name of its own in the files, what stands beside it is no part of it.
    if any(key.startswith(prefix) for key in used):
        left_over = [key for key in left_over if key.startswith(prefix)]
    return Matching(sources, missing, left_over)


def _expected(model: Any, family: Family, names: set[str], prefix: str) -> set[str]:
    """Tensors that may lie there unused: task heads, and what the model computes by itself."""
    buffers = {name for name, _ in model.named_buffers()}
    return {
        name
        for name in names
        if name.split(".")[0] in family.task_heads
        or (own := name.removeprefix(prefix)) in buffers
        or any(re.fullmatch(pattern, own) for pattern in family.buffers)
    }


def check_matching(source: str, family: Family, found: Matching, count: int) -> None:
    """Refuse a backbone whose files do not hold exactly what its model needs.

    Args:
        source: the folder, for the message.
        family: of the backbone.
        found: from `match`.
        count: tensors in the files.

    Raises:
        UserError: parameters are missing, or tensors are left over; names some.
    """
    unused = _some(found.unused)
    if any(re.search(QUANTISED_TENSOR, name) for name in found.unused):
        raise quantised(source, f"by its tensors {unused}")
    if found.missing:
        raise UserError(
            f"{source}: the weights of {len(found.missing)} parameters of this {family.name} are"
            f" missing, {', '.join(found.missing[:3])} among them. The folder holds {count}"
            f" tensors{f', such as {unused}' if unused else ''}.{_hint(found.unused)}"
        )
    if found.unused:
        raise UserError(
            f"{source}: {len(found.unused)} tensors have no place in this {family.name}, {unused}"
            " among them; without them it would compute something else."
            f"{_hint(found.unused) or _OTHER_MODEL}"
        )


_OTHER_MODEL = (
    " Does config.json leave out the key that turns them on, or ask for fewer layers? Download"
    " config.json and the weights again, from the same model."
)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3])


def _hint(names: Sequence[str]) -> str:
    if any("lora_" in name or ".base_layer." in name for name in names):
        return (
            " These are of an adapter: merge it into the weights first (PEFT's"
            " merge_and_unload), and name the folder of the merged model."
        )
    return ""
