"""Values of a recipe by their whole keys."""

from __future__ import annotations

from ptv2_scale.config.dotted import dotted


def test_sections_of_sections_become_one_mapping() -> None:
    recipe = {"run": None, "train": {"lr": 0.1, "betas": [0.9, 0.99]}, "task": {"a": {"name": "x"}}}
    assert dotted(recipe) == {
        "run": None, "train.lr": 0.1, "train.betas": [0.9, 0.99], "task.a.name": "x",
    }  # fmt: skip
