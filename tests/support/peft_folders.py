"""Exports made into PEFT's folders: PEFT's loaded model against ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tiny import write_recipe
from transformers import AutoModelForSequenceClassification

from ptv2_scale import load_prompted
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.config import load_recipe
from ptv2_scale.export.card import Card
from ptv2_scale.export.native import write_export
from ptv2_scale.export.peft import export_peft
from ptv2_scale.model.setup import Setup, build_model, open_setup
from ptv2_scale.runtime.errors import UserError

LABELS = ["no", "yes", "perhaps"]


def setup_of(folder: Path, kind: str, prompt: dict[str, Any]) -> Setup:
    recipe = write_recipe(folder, kind, task={"head": "hf", "labels": LABELS})
    return open_setup(load_recipe(recipe, [f"prompt={prompt}"]))


def random_export(setup: Setup, folder: Path, seed: int = 1) -> Path:
    """An export whose trained values are wide random numbers, so that mistakes show."""
    generator = torch.Generator().manual_seed(seed)
    values = {
        name: torch.randn(tuple(parameter.shape), generator=generator) * 0.3
        for name, parameter in build_model(setup).trained().items()
    }
    write_export(folder, Card.of(setup, {}), NamedTensors(values))
    return folder


def unpadded() -> dict[str, torch.Tensor]:
    """A batch without padding: PEFT's decoders read the last column behind a prompt."""
    ids = torch.randint(5, 100, (3, 7), generator=torch.Generator().manual_seed(2))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def check_peft(folder: Path, kind: str, prompt: dict[str, Any]) -> Any:
    """PEFT's model, loaded from the folder that our export became, whose logits are ours."""
    setup = setup_of(folder, kind, prompt)
    export = random_export(setup, folder / "ours")
    export_peft(export, folder / "peft")
    base = AutoModelForSequenceClassification.from_pretrained(
        folder / "backbone", num_labels=len(LABELS)
    )
    theirs = PeftModel.from_pretrained(base, folder / "peft").eval()
    with torch.no_grad():
        expected, found = theirs(**unpadded()).logits, load_prompted(export)(**unpadded()).logits
    assert float(found.abs().max()) > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
    return theirs


def refused_by_peft(folder: Path, kind: str, prompt: dict[str, Any]) -> str:
    """What is said of an export that PEFT cannot express."""
    export = random_export(setup_of(folder, kind, prompt), folder / "ours")
    with pytest.raises(UserError) as caught:
        export_peft(export, folder / "peft")
    assert not (folder / "peft").exists()
    return str(caught.value)
