"""A prompt of words alone, which the pretrained backbone answers: nothing is trained.

It is where GPT-3 (Brown et al., NeurIPS 2020) and PET (Schick and Schütze, EACL 2021) begin, and
what trained prompts are compared with.
"""

from __future__ import annotations

from ptv2_scale.methods.base import Method


class DiscreteMethod(Method):
    """Neither backbone nor head has anything trained; a run makes no step."""

    trains_nothing = True
    trains_through_backbone = False
