"""Which methods there are; a recipe's `prompt` becomes a `Method`."""

from __future__ import annotations

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.config import METHODS, MethodSection, register_section
from ptv2_scale.methods.base import Method
from ptv2_scale.methods.discrete import DiscreteMethod
from ptv2_scale.methods.full import FullTuningMethod
from ptv2_scale.methods.head_only import HeadOnlyMethod
from ptv2_scale.methods.lora.method import LoraMethod
from ptv2_scale.methods.prefix.method import PrefixMethod
from ptv2_scale.methods.prompt.method import PromptTuningMethod
from ptv2_scale.methods.ptuning import PTuningMethod

IMPLEMENTATIONS: dict[str, type[Method]] = {
    "prefix": PrefixMethod,
    "prompt": PromptTuningMethod,
    "ptuning": PTuningMethod,
    "lora": LoraMethod,
    "full": FullTuningMethod,
    "none": HeadOnlyMethod,
    "discrete": DiscreteMethod,
}


def register_method(section: type[MethodSection], method: type[Method]) -> None:
    """Let recipes name another method.

    Args:
        section: its section of a recipe, whose `method` is a Literal of its name.
        method: what it does; see `Method`.

    Raises:
        ValueError: another method has this name.
    """
    register_section(METHODS, section)
    IMPLEMENTATIONS[METHODS.name_of_model(section)] = method


def method_type(section: MethodSection) -> type[Method]:
    """What a recipe's section asks for."""
    return IMPLEMENTATIONS[section.method]


def build_method(section: MethodSection, family: Family, config: Config) -> Method:
    """The method of a recipe's section on a backbone.

    Raises:
        UserError: the section and the backbone do not go together.
    """
    return method_type(section)(section, family, config)
