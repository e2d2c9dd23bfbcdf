"""No method beside the head: what every other one has to beat."""

from __future__ import annotations

from ptv2_scale.methods.base import Method


class HeadOnlyMethod(Method):
    """The head alone is trained, on the backbone as it is."""

    trains_through_backbone = False
