"""The head of every token against transformers' ForTokenClassification; what the backbone runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_setup import fake_setup
from tiny import batch_of, config_of, save_backbone
from transformers import AutoModel, AutoModelForTokenClassification

from ptv2_scale.backbones.families import family_of
from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.backbones.load import Unsharded, materialise
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.model.setup import Setup, build_model, first_values, model_filler
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.token_head import TokenHead, token_head

WIDTH = 32


class FourTags:
    """As much of a task as building a model needs."""

    def head(self, family: Family, config: Config) -> TokenHead:
        return TokenHead(family.width(config), 4)


def setup_of(folder: Path, **changes: Any) -> Setup:
    return replace(fake_setup(folder, **changes), task=FourTags())  # type: ignore[arg-type]


def loaded(setup: Setup) -> Any:
    model = build_model(setup)
    materialise(model, model_filler(setup, model, NamedTensors(first_values(setup))), Unsharded())
    return model.eval()


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_same_logits_and_dropout_as_transformers(kind: str) -> None:
    changes = {"classifier_dropout": 0.5} if kind == "bert" else {}
    config = config_of(kind, num_labels=4, **changes)
    torch.manual_seed(5)
    reference = AutoModelForTokenClassification.from_config(config, attn_implementation="sdpa")
    own = reference.classifier if kind == "bert" else reference.score
    head = token_head("hf", family_of(config, "test"), config, 4)
    head.out_proj.load_state_dict(own.state_dict())
    batch = batch_of("right")
    batch["input_ids"][batch["attention_mask"] == 0] = config.pad_token_id
    reference.train()
    torch.manual_seed(1)
    expected = reference(**batch).logits
    torch.manual_seed(1)
    hidden = reference.base_model(**batch).last_hidden_state
    found = head.train()(hidden, None, batch["attention_mask"])
    assert torch.equal(found, expected)
    assert not torch.equal(found, head(hidden, None, batch["attention_mask"]))
    assert token_head("linear", family_of(config, "test"), config, 4).dropout.p == 0.0


def test_the_text_alone_is_read_wherever_it_stands() -> None:
    head = TokenHead(WIDTH, 2)
    hidden = torch.randn(2, 6, WIDTH)
    mask = torch.tensor([[0, 0, 1, 1, 1, 0], [1, 0, 0, 0, 1, 0]])
    found = head.features(hidden, None, mask)
    assert found.shape == (2, 3, WIDTH)
    assert torch.equal(found[0], hidden[0, 2:5])
    assert torch.equal(found[1, :2], hidden[1, [0, 4]])
    parts = head.split(found, torch.tensor([[1, 1, 1], [1, 1, 0]]))
    assert [tuple(part.shape) for part in parts] == [(3, WIDTH), (2, WIDTH)]
    assert torch.equal(head.join(parts)[0], found[0])
    assert torch.equal(head.join(parts)[1, :2], found[1, :2])


@pytest.mark.parametrize("kind", ["bert", "roberta", "llama", "t5", "glm_classic"])
def test_a_text_has_the_logits_in_a_batch_that_it_has_alone(kind: str, tmp_path: Path) -> None:
    slots = {"prompt": {"slots": ["encoder"]}} if kind == "t5" else {}
    model = loaded(setup_of(save_backbone(kind, tmp_path), **slots))
    with torch.no_grad():
        for padding in ("right", "left"):
            batch = batch_of(padding)
            batched = model(**batch).outputs
            assert batched.shape == (3, 9, 4)
            for row, real in enumerate(batch["attention_mask"].bool()):
                alone = model(**{name: value[row, real][None] for name, value in batch.items()})
                size = int(real.sum())
                torch.testing.assert_close(batched[row, :size], alone.outputs[0], rtol=0, atol=2e-5)
                assert not torch.equal(batched[row, 0], batched[row, 1])


def test_an_encoder_decoder_is_read_in_its_encoder_alone(tmp_path: Path) -> None:
    model = loaded(setup_of(save_backbone("t5", tmp_path), prompt={"slots": ["encoder"]}))
    calls: list[Any] = []
    model.backbone.decoder.register_forward_hook(lambda *_: calls.append(_))
    batch = batch_of("right")
    with torch.no_grad():
        found = model(entry=None, **batch).features
        reference = AutoModel.from_pretrained(tmp_path).get_encoder().eval()
        expected = reference(**batch).last_hidden_state
    for row, size in enumerate((9, 6, 4)):
        torch.testing.assert_close(found[row, :size], expected[row, :size], rtol=0, atol=1e-5)
    assert not calls


def test_a_prefix_in_a_decoder_that_does_not_run_is_refused(tmp_path: Path) -> None:
    setup = setup_of(save_backbone("t5", tmp_path))
    with pytest.raises(UserError, match=r"slots cross, decoder .*Set prompt.slots: \[encoder\]"):
        build_model(setup)


@pytest.mark.parametrize("kind", ["t5", "glm_classic"])
def test_families_without_a_head_of_transformers(kind: str) -> None:
    config = config_of(kind)
    with pytest.raises(UserError, match="has no head 'hf' here"):
        token_head("hf", family_of(config, "test"), config, 4)
    assert token_head(None, family_of(config, "test"), config, 4).dropout.p == 0.0
