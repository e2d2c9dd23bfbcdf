"""Prompt tuning as a method: its guard, its room, its export, and the folder that PEFT loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from peft_folders import check_peft, refused_by_peft
from plain import ours
from tiny import MODEL_TYPES, batch_of, config_of, save_backbone

from ptv2_scale.backbones.families import family_of
from ptv2_scale.config import PromptTuning
from ptv2_scale.methods.guard import MethodUnusedError
from ptv2_scale.methods.prompt.entry import PromptEntry
from ptv2_scale.methods.registry import build_method
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.runtime.errors import UserError

PROMPT = {"method": "prompt", "length": 5}


@pytest.mark.parametrize("kind", MODEL_TYPES)
def test_every_family_passes_the_guard_and_is_left_as_it_was(kind: str, tmp_path: Path) -> None:
    model, _ = ours(save_backbone(kind, tmp_path), PROMPT, checkpointing=True)
    model.eval()
    model.method.guard(model, model, batch_of("right"))
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_prompt_without_a_gradient_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = ours(save_backbone("llama", tmp_path), PROMPT)
    wrap = PromptEntry.wrap

    def last_row_lost(entry: PromptEntry, *given: Any) -> Any:
        used = torch.cat((entry.embeddings[:-1], entry.embeddings[-1:].detach()))
        return wrap(PromptEntry(used), *given)

    monkeypatch.setattr(PromptEntry, "wrap", last_row_lost)
    with pytest.raises(MethodUnusedError, match="no gradient reaches the prompt's embedding 5"):
        model.method.guard(model, model, batch_of("right"))


def test_a_prompt_that_changes_nothing_is_noticed(tmp_path: Path) -> None:
    model, _ = ours(save_backbone("llama", tmp_path), PROMPT)
    original = model.forward

    def without(entry: Any = "own", **inputs: Any) -> Any:
        return original(entry=None if entry == "own" else entry, **inputs)

    model.forward = without  # type: ignore[method-assign]
    with pytest.raises(MethodUnusedError, match="taking the prompt out changes nothing"):
        model.method.guard(model, model, batch_of("right"))


@pytest.mark.parametrize("kind", ["bert", "glm_classic"])
def test_a_prompt_takes_room_in_every_position_table(kind: str) -> None:
    config = config_of(kind)
    family = family_of(config, "")
    method = build_method(PromptTuning(method="prompt", length=100), family, config)
    room = family.position_room(config)
    assert room is not None
    method.check_length(room - 100)
    with pytest.raises(UserError) as caught:
        method.check_length(room - 99)
    assert f"100 prompt tokens and {room - 99} text tokens are longer" in str(caught.value)
    assert "prompt.positions" not in str(caught.value)


@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2", "opt"])
def test_peft_loads_the_export_and_gives_the_same_logits(kind: str, tmp_path: Path) -> None:
    theirs = check_peft(tmp_path, kind, PROMPT)
    assert isinstance(theirs, PeftModel)
    assert theirs.active_peft_config.peft_type == "PROMPT_TUNING"


def test_a_head_that_reads_the_prompts_column_in_peft_is_refused(tmp_path: Path) -> None:
    message = refused_by_peft(tmp_path, "roberta", PROMPT)
    assert "in PEFT, RoBERTa's own head reads another column of its input" in message


def test_models_share_a_backbone(tmp_path: Path) -> None:
    first, _ = ours(save_backbone("llama", tmp_path), PROMPT)
    second = PromptedModel(first.backbone, first.family, first.head, first.method)
    with torch.no_grad():
        second.adapter.embedding.weight.normal_()
        alone = first.eval()(**batch_of("right")).outputs
        second.eval()(**batch_of("right"))
        again = first(**batch_of("right")).outputs
    assert torch.equal(alone, again)
