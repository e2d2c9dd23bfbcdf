"""The families, and the way to find one by a model's configuration."""

from __future__ import annotations

from ptv2_scale.backbones.families.bert import BERT
from ptv2_scale.backbones.families.deberta import DEBERTA
from ptv2_scale.backbones.families.distilbert import DISTILBERT
from ptv2_scale.backbones.families.electra import ELECTRA
from ptv2_scale.backbones.families.gemma import GEMMA
from ptv2_scale.backbones.families.glm_classic import GLM_CLASSIC
from ptv2_scale.backbones.families.gpt2 import GPT2
from ptv2_scale.backbones.families.modernbert import MODERNBERT
from ptv2_scale.backbones.families.opt import OPT
from ptv2_scale.backbones.families.roberta import ROBERTA
from ptv2_scale.backbones.families.rotary import GLM4, GPT_NEOX, LLAMA, MISTRAL, PHI3, QWEN
from ptv2_scale.backbones.families.t5 import T5
from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.runtime.errors import UserError, did_you_mean

FAMILIES = (
    *(T5, GLM_CLASSIC, GLM4, BERT, ROBERTA, ELECTRA, DISTILBERT, DEBERTA, MODERNBERT),
    *(LLAMA, MISTRAL, QWEN, GEMMA, GPT2, OPT, GPT_NEOX, PHI3),
)

_NO_DISPATCH = "its attention is not dispatched through transformers' attention interface"
REFUSED = {
    "gptj": _NO_DISPATCH,
    "bloom": _NO_DISPATCH,
    "falcon": _NO_DISPATCH,
    "albert": "its layers share their weights, so one attention module would need many prefixes",
    "gemma3": "it reads images, too; its text model alone (model_type gemma3_text) can be prompted",
    "gpt_oss": "its attention has sinks, which a prefix would change",
}


def family_of(config: Config, source: str) -> Family:
    """The family that `config` belongs to, checked for settings that a prefix cannot work with.

    Raises:
        UserError: the architecture is unknown or refused, or a setting of it is; says why.
    """
    model_type = str(config.model_type)
    if model_type in REFUSED:
        raise UserError(
            f"{source}: model_type '{model_type}' cannot be prompted: {REFUSED[model_type]}."
        )
    known = _by_model_type()
    if model_type not in known:
        raise unknown_architecture(model_type, source)
    family = known[model_type]
    reason = refusal(family, config)
    if reason:
        raise UserError(f"{source}: this {family.name} cannot be prompted: {reason}.")
    return family


def _by_model_type() -> dict[str, Family]:
    return {kind: family for family in FAMILIES for kind in family.model_types}


def unknown_architecture(model_type: str, source: str) -> UserError:
    """The error for a model_type that no family claims: names them all, and how to add one."""
    return UserError(
        f"{source}: model_type '{model_type}' belongs to no family."
        f"{did_you_mean(model_type, sorted(_by_model_type()))} Families: "
        + "; ".join(f"{family.name} ({', '.join(family.model_types)})" for family in FAMILIES)
        + ". To add one, declare a Family in a file of ptv2_scale/backbones/families/"
        " (CONTRIBUTING.md, 'Adding a family')."
    )


def refusal(family: Family, config: Config) -> str | None:
    """Why a prefix cannot work with this configuration, or None."""
    value_width = getattr(config, "v_head_dim", None)
    if value_width and value_width != family.head_dim(config):
        return f"keys are {family.head_dim(config)} wide and values {value_width}"
    return family.refuse(config)
