"""Shipped sweep files expand into the runs that they promise; the schema is that of the models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ranks import CHECKOUT

from ptv2_scale import demo
from ptv2_scale.config import yaml_text
from ptv2_scale.sweep.api import Sweep
from ptv2_scale.sweep.config import json_schema

SWEEPS = CHECKOUT / "recipes" / "sweeps"
# Cells, and runs that are planned, multiplied out by hand: axes, then grid or search and seeds.
SHIPPED = {
    "demo": (4 * 4, 4 * 4),
    "small": (3, 3 * 2),
    "paper-superglue": (8 * 4 * 4, 8 * 4 * (2 + 3 + 3 + 3) * 3),
    "t5-ladder": (2 * 5 * 5, 2 * 5 * ((2 + 3 + 2 + 2) * 3 + 12)),
    "prefix-length": (3 * 6, 3 * 6 * 2 * 3),
    "depth": (2 * 9, 2 * 9 * 2 * 3),
    "reparametrisation": (3 * 2, 3 * 2 * 2 * 3),
    "metamath": (6, 7),
    "ladder": (2 * 4 * 5, 2 * 4 * 5 * 2),
    "minilm-depth": (2 * 3 * 5, 2 * 3 * 5 * 2 * 2),
}


def schema() -> dict[str, Any]:
    return dict(json.loads((SWEEPS / "sweep.schema.json").read_text()))


def test_all_are_known() -> None:
    assert {path.stem for path in SWEEPS.glob("*.yaml")} == set(SHIPPED) - {"demo"}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_sweep(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = demo.SWEEP if name == "demo" else SWEEPS / f"{name}.yaml"
    asked = Sweep.read(path)
    runs = [(cell.folder, one.folder) for cell in asked.cells for one in cell.planned]
    assert (len(asked.cells), len(runs)) == SHIPPED[name]
    assert len(set(runs)) == len(runs)
    assert asked.file.folder == Path("runs/sweeps") / name
    jsonschema.validate(yaml_text.parse(path.read_text()).value, schema())
    assert not list(tmp_path.iterdir())  # reading makes nothing


def test_the_demo_has_each_method_on_each_size() -> None:
    cells = Sweep.read(demo.SWEEP).cells
    methods = {"full", "prefix", "prompt", "none"}
    found = {(cell.config.backbone.name, cell.config.prompt.method) for cell in cells}
    assert found == {(name, method) for name in demo.LADDER for method in methods}


def test_the_shipped_schema_is_that_of_the_models() -> None:
    assert schema() == json_schema(), (
        "write it anew: ptv2-scale schema sweep > recipes/sweeps/sweep.schema.json"
    )


def test_the_schema_refuses_mistakes() -> None:
    for wrong in ({"seeds": [1.5]}, {"axes": {"a": 3}}, {"launch": {"nprok": 1}}, {"axess": {}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"recipe": "demo", **wrong}, schema())
