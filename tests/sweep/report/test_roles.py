"""Axes by people's names and by the recipe's keys."""

from __future__ import annotations

import pytest
from sweep_trials import trial

from ptv2_scale.sweep.report.roles import axis_of, label_of, labels_of, other_axes


@pytest.mark.parametrize("name", ["method", "prompt.method"])
def test_a_role_goes_by_several_names(name: str) -> None:
    assert axis_of("method", ["task", name]) == name
    assert label_of(trial({name: "lora"}, 0.5), "method") == "lora"
    assert label_of(trial({"task": "rte"}, 0.5), "method") == ""


def test_what_has_no_role_is_left() -> None:
    names = ["backbone", "task.max_length", "method"]
    assert other_axes(names, "task", "method") == ["backbone", "task.max_length"]


def test_labels_of_recipe_keys_have_their_name() -> None:
    one = trial({"method": "prefix", "prompt.length": "8"}, 0.5)
    assert labels_of(one, ["method", "prompt.length", "task"]) == "prefix, prompt.length=8"
    assert labels_of(one, ["task"]) == "all"
