"""`hf` heads against transformers' own models: the same weights give the same logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fake_setup import fake_setup
from tiny import batch_of, config_of, save_backbone
from torch import nn
from transformers import AutoModelForSequenceClassification

from ptv2_scale.backbones.load import Unsharded, materialise
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.model.setup import build_model, first_values, model_filler
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.heads import Head, HeadKind, build_head

WIDTH = 32
HEADS: dict[str, HeadKind] = {
    "bert": "bert",
    "roberta": "roberta",
    "llama": "score",
    "gpt2": "score",
    "qwen3": "score",
}


def reference_of(model_type: str, **changes: Any) -> Any:
    torch.manual_seed(5)
    config = config_of(model_type, num_labels=3, **changes)
    return AutoModelForSequenceClassification.from_config(config, attn_implementation="sdpa")


def head_like(reference: Any, kind: HeadKind, dropout: float = 0.0) -> Head:
    """Our head with the weights of transformers' head, taken by name."""
    head = build_head(kind, WIDTH, 3, dropout, "last")
    names = [name.removesuffix(".weight").removesuffix(".bias") for name in head.state_dict()]
    owner = reference.classifier if kind == "roberta" else reference
    weights = {
        name: value for name, value in owner.state_dict().items() if name.rsplit(".", 1)[0] in names
    }
    head.load_state_dict(weights)
    return head


def inputs_of(reference: Any, padding: str) -> dict[str, torch.Tensor]:
    batch = batch_of(padding)
    batch["input_ids"][batch["attention_mask"] == 0] = reference.config.pad_token_id
    return batch


def logits_of(reference: Any, head: Head, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    outputs = reference.base_model(**batch)
    pooled = getattr(outputs, "pooler_output", None)
    result: torch.Tensor = head(outputs.last_hidden_state, pooled, batch["attention_mask"])
    return result


@pytest.mark.parametrize("padding", ["none", "right", "left"])
@pytest.mark.parametrize("model_type", HEADS)
def test_same_logits_as_transformers(model_type: str, padding: str) -> None:
    reference = reference_of(model_type).eval()
    head = head_like(reference, HEADS[model_type]).eval()
    batch = inputs_of(reference, padding)
    with torch.no_grad():
        expected, found = reference(**batch).logits, logits_of(reference, head, batch)
    assert found.shape == (3, 3)
    if HEADS[model_type] == "score":
        # Transformers' makes logits of every token and picks the last one's, ours of that token
        # alone: another shape of matrix, whose sums some CPUs make in another order.
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    else:
        assert torch.equal(found, expected)


@pytest.mark.parametrize("model_type", ["bert", "roberta"])
def test_dropout_is_where_transformers_has_it(model_type: str) -> None:
    reference = reference_of(model_type, classifier_dropout=0.5).train()
    head = head_like(reference, HEADS[model_type], 0.5).train()
    batch = inputs_of(reference, "right")
    torch.manual_seed(1)
    expected = reference(**batch).logits
    torch.manual_seed(1)
    found = logits_of(reference, head, batch)
    assert torch.equal(found, expected)
    assert not torch.equal(found, logits_of(reference, head, batch))


@pytest.mark.parametrize(
    ("pool", "padding", "places"),
    [
        ("first", "right", [0, 0, 0]),
        ("first", "left", [0, 3, 5]),
        ("last", "right", [8, 5, 3]),
        ("last", "left", [8, 8, 8]),
    ],
)
def test_linear_head_reads_one_token(pool: Any, padding: str, places: list[int]) -> None:
    mask = batch_of(padding)["attention_mask"]
    hidden = torch.randn(3, 9, WIDTH)
    head = build_head("linear", WIDTH, 2, 0.0, pool)
    expected = torch.stack([row[place] for row, place in zip(hidden, places, strict=True)])
    assert torch.equal(head.features(hidden, None, mask), expected)
    assert isinstance(head.out_proj, nn.Linear)
    assert torch.allclose(
        head(hidden, None, mask), expected @ head.out_proj.weight.T + head.out_proj.bias
    )


@pytest.mark.parametrize("padding", ["right", "left"])
@pytest.mark.parametrize("model_type", ["bert", "glm_classic"])
def test_padding_changes_no_logits(model_type: str, padding: str, tmp_path: Path) -> None:
    """Behind a prefix, a text in a batch has the logits that it has alone."""
    setup = fake_setup(save_backbone(model_type, tmp_path))
    model = build_model(setup)
    materialise(model, model_filler(setup, model, NamedTensors(first_values(setup))), Unsharded())
    batch = batch_of(padding)
    with torch.no_grad():
        together = model.eval()(**batch)
        for row, real in enumerate(batch["attention_mask"].bool()):
            alone = model(**{name: value[row, real][None] for name, value in batch.items()})
            for found, expected in zip(together, alone, strict=True):
                torch.testing.assert_close(found[row], expected[0], rtol=0, atol=2e-5)


def test_head_may_be_wider_than_the_backbone_is_precise() -> None:
    head = build_head("roberta", WIDTH, 2, 0.0, "first")
    hidden = torch.randn(3, 9, WIDTH).bfloat16()
    assert head(hidden, None, torch.ones(3, 9, dtype=torch.long)).dtype == torch.float32


def test_bert_head_needs_the_pooler() -> None:
    head = build_head("bert", WIDTH, 2, 0.0, "first")
    with pytest.raises(UserError, match="use task.head=linear"):
        head.features(torch.randn(1, 4, WIDTH), None, torch.ones(1, 4))


@pytest.mark.parametrize("kind", ["linear", "bert", "roberta", "score"])
def test_initial_values(kind: HeadKind) -> None:
    torch.manual_seed(0)
    for name, parameter in build_head(kind, 256, 64, 0.0, "first").named_parameters():
        if name.endswith("bias"):
            assert parameter.abs().max() == 0.0
        else:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.05)
