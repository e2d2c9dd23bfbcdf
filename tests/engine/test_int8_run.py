"""Backbones in 8 bits under ZeRO-3: gradients, runs that resume, and answers of their exports."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import ranks
import torch
from killed import kill_after, losses
from points import EVERYTHING
from rounded import save_rounded
from tiny import save_backbone, write_recipe
from untrained import export_untrained

from ptv2_scale import Predictor, UserError, load_backbone, load_prompted
from ptv2_scale.cli import main
from ptv2_scale.export.peft import export_peft

WORKER = Path(__file__).with_name("int8_worker.py")
KINDS = ("bert", "t5", "glm4", *(("llama",) if EVERYTHING else ()))
ON_AND_OFF = ("False", "True")


@pytest.mark.parametrize(
    ("dtype", "kinds", "tolerance"),
    [("fp32", KINDS, 2e-6), ("bf16", KINDS if EVERYTHING else ("llama",), 3e-2)],
    ids=["fp32", "bf16"],
)
def test_gradients_are_those_of_plain_torch_on_the_rounded_weights(
    dtype: str, kinds: tuple[str, ...], tolerance: float, tmp_path: Path
) -> None:
    for kind in kinds:
        save_backbone(kind, tmp_path / kind, 0.15 if dtype == "fp32" else None)
        torch_dtype = torch.float32 if dtype == "fp32" else torch.bfloat16
        save_rounded(tmp_path / kind, tmp_path / f"{kind}-rounded", torch_dtype)
    ended = ranks.run(2, *ranks.worker(WORKER, tmp_path, dtype)).must_succeed()
    rows = [one.split()[1:] for one in ended.outputs[0].splitlines() if "DIFFERENCE" in one]
    assert {tuple(row[:2]) for row in rows} == set(product(kinds, ON_AND_OFF))
    assert [row for row in rows if not float(row[3]) <= tolerance] == []


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two ranks, `whole`, and one that was killed and resumed on one, `killed`."""
    folder = tmp_path_factory.mktemp("job")
    recipe = write_recipe(
        folder,
        "llama",
        backbone={"quantization": "int8"},
        prompt={"dropout": 0.0},
        train={"steps": 8, "micro_batch": 3},
    )
    ranks.cli(2, "train", str(recipe), f"run={folder / 'whole'}").must_succeed()
    kill_after(recipe, folder / "killed", 2, 5)
    again = (f"run={folder / 'killed'}", "--resume", "auto")
    ranks.cli(1, "train", str(recipe), *again).must_succeed()
    return folder


def test_a_run_goes_on_with_another_number_of_ranks(job: Path) -> None:
    assert losses(job / "killed") == pytest.approx(losses(job / "whole"), rel=1e-5)


def test_an_export_answers_as_the_run_has_evaluated(job: Path) -> None:
    result = json.loads((job / "whole" / "result.json").read_text())
    metrics, _ = Predictor.load(job / "whole").evaluate("whole", "validation")
    assert metrics == result["metrics"]
    card = json.loads((job / "whole" / "export" / "card.json").read_text())
    assert card["recipe"]["backbone"]["quantization"] == "int8"
    assert ", its layers in int8." in (job / "whole" / "export" / "README.md").read_text()
    plain = load_backbone(job / "backbone")
    weights = sum(parameter.numel() for parameter in plain.parameters())
    assert result["backbone_parameters"] == weights
    own = load_backbone(job / "backbone", quantization="int8")
    shared = load_prompted(job / "whole", backbone=own)
    inputs = {"input_ids": torch.tensor([[5, 6, 7]])}
    with torch.no_grad():
        assert torch.equal(shared(**inputs).logits, load_prompted(job / "whole")(**inputs).logits)
    with pytest.raises(UserError, match=r"load_backbone\(FOLDER, quantization='int8'\)"):
        load_prompted(job / "whole", backbone=plain)


def test_an_export_is_served_with_no_other_backbone(job: Path, capsys: Any) -> None:
    assert main(["evaluate", str(job / "whole"), "backbone.quantization=null"]) == 2
    assert "backbone.quantization is a part of what was trained" in capsys.readouterr().err
    run = str(job / "whole")
    again = [f"run={run}", "backbone.quantization=null", "--resume", "auto"]
    assert main(["train", str(job / "recipe.yaml"), *again]) == 2
    assert "backbone.quantization was 'int8' and is None" in capsys.readouterr().err
    plain = export_untrained(job / "recipe.yaml", job / "plain", "backbone.quantization=null")
    with pytest.raises(UserError, match="or with another backbone.quantization; run them apart"):
        Predictor.load(job / "whole", plain)
    with pytest.raises(UserError, match="trained on a backbone in 8 bits of our own"):
        export_peft(job / "whole", job / "peft")
    path = job / "whole" / "export" / "card.json"
    card = json.loads(path.read_text())
    card["recipe"]["backbone"]["quantization"] = None
    text = path.read_text()
    path.write_text(json.dumps(card))
    with pytest.raises(UserError, match="has been edited since it was written"):
        Predictor.load(job / "whole")
    path.write_text(text)
