"""Fine-tuning, against transformers' own models trained by hand, and what it shares with nobody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft_folders import random_export, refused_by_peft, setup_of
from plain import decoder_start, gradients, head_logits, leaves, loss_of, ours, plain_backbone
from safetensors.torch import load_file
from tiny import SAMPLED_TYPES, batch_of, save_backbone, write_recipe
from torch import Tensor
from transformers import AutoModel

from ptv2_scale import Predictor, UserError, load_backbone, load_prompted, train
from ptv2_scale.cli import main
from ptv2_scale.methods.guard import MethodUnusedError

FULL = {"method": "full"}


def by_hand(kind: str, folder: Path, values: dict[str, Tensor]) -> dict[str, Tensor]:
    backbone, head, batch = plain_backbone(folder), leaves(values), batch_of("right")
    hidden = backbone(**batch, **decoder_start(kind, 3)).last_hidden_state
    loss_of(head_logits(kind, hidden, batch["attention_mask"], head)).backward()
    own = {f"backbone.{n}": p.grad for n, p in backbone.named_parameters() if p.grad is not None}
    return own | {name: value.grad for name, value in head.items()}


@pytest.mark.parametrize("kind", SAMPLED_TYPES)
def test_every_parameter_gets_the_gradient_of_transformers(kind: str, tmp_path: Path) -> None:
    save_backbone(kind, tmp_path)
    expected: dict[str, Tensor] = {}
    for checkpointing in (False, True):
        model, values = ours(tmp_path, FULL, checkpointing)
        expected = expected or by_hand(kind, tmp_path, values)
        found = gradients(model, "right")
        parameters = dict(model.backbone.named_parameters())
        assert found.keys() == {f"backbone.{name}" for name in parameters} | values.keys()
        unused = {name for name, one in found.items() if one is None}
        assert unused == found.keys() - expected.keys()
        assert all(".pooler." in name for name in unused)
        for name, gradient in expected.items():
            own, scale = found[name], float(gradient.abs().max())
            assert own is not None
            # Biases of keys have none but rounding: the softmax does not see them.
            torch.testing.assert_close(own, gradient, rtol=1e-3, atol=2e-5 * max(scale, 0.1))


@pytest.mark.parametrize("kind", SAMPLED_TYPES)
def test_the_guard_passes_and_notices_what_cuts_the_gradient(kind: str, tmp_path: Path) -> None:
    model, _ = ours(save_backbone(kind, tmp_path), FULL, checkpointing=True)
    model.eval()
    model.method.guard(model, model, batch_of("right"))
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())

    def cut(module: Any, given: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state.detach()
        return output

    model.backbone.register_forward_hook(cut)
    with pytest.raises(MethodUnusedError, match="no gradient reaches the backbone's input"):
        model.method.guard(model, model, batch_of("right"))


def test_a_run_trains_all_but_what_no_head_reads(tmp_path: Path) -> None:
    """In bf16: the fp32 master values that an export holds have more bits than what computes."""
    recipe = write_recipe(tmp_path, "bert", prompt=FULL, task={"head": "linear"},
                          backbone={"dtype": "bf16"}, backbone_config={"num_hidden_layers": 1},
                          train={"steps": 2, "micro_batch": 6, "lr": 1e-4},
                          evaluate={"micro_batch": 7})  # fmt: skip
    result = train(recipe)
    before = AutoModel.from_pretrained(tmp_path / "backbone").state_dict()
    after = load_file(tmp_path / "run" / "export" / "prompt.safetensors")
    assert after.keys() - {"head.out_proj.weight", "head.out_proj.bias"} == {
        f"backbone.{name}" for name in before
    }
    rounded = {name: value.bfloat16().float() for name, value in before.items()}
    for name, value in rounded.items():
        moved = not torch.equal(after[f"backbone.{name}"], value)
        assert moved == ("pooler" not in name), name
    word = after["backbone.embeddings.word_embeddings.weight"]
    assert not torch.equal(word, word.bfloat16().float())
    assert result.trained_parameters == sum(value.numel() for value in after.values())
    assert result.backbone_parameters == 0


def test_optimizer_state_on_the_cpu_gives_the_same_values(tmp_path: Path) -> None:
    steps = {"steps": 3, "micro_batch": 3, "lr": 1e-3}
    recipe = write_recipe(tmp_path, "t5", prompt=FULL, train=steps)
    own = tmp_path / "own.json"
    zero = {"stage": 3, "offload_optimizer": {"device": "cpu", "pin_memory": False}}
    own.write_text(json.dumps({"zero_optimization": zero}))
    found = []
    for name, deepspeed in (("plain", "zero3"), ("offloaded", str(own))):
        train(recipe, [f"run={tmp_path / name}", f"deepspeed={deepspeed}"])
        found.append(load_file(tmp_path / name / "export" / "prompt.safetensors"))
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-5, atol=1e-6)
    # A frozen backbone has next to no state to move.
    with pytest.raises(UserError, match="moving it away saves nothing"):
        train(recipe, [f"deepspeed={own}", "prompt={method: none}"])


def test_exports_that_trained_the_backbone_share_it_with_none(tmp_path: Path) -> None:
    """Two of them and a prompt, side by side: each gives what it gives alone."""
    kinds = {"full": FULL, "prompt": {"method": "prompt", "length": 3}}
    folders = {}
    for name in ("prompt", "full-1", "full-2"):
        setup = setup_of(tmp_path, "llama", kinds[name.split("-")[0]])
        folders[name] = random_export(setup, tmp_path / name, seed=len(folders))
    rows = [{"text": "w1 w2 w3"}, {"text": "w4"}]
    several = Predictor.load(*folders.values())
    answers = []
    for name, folder in folders.items():
        answers.append(Predictor.load(folder).predict(rows))
        assert several.predict(rows, name) == answers[-1]
    assert answers[1] != answers[2]
    backbone = load_backbone(tmp_path / "backbone")
    with pytest.raises(UserError, match="has trained the backbone itself, so it shares none"):
        load_prompted(folders["full-1"], backbone=backbone)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    readme = (folders["full-1"] / "README.md").read_text()
    assert "Trained with ptv2_scale from the Llama backbone" in readme
    assert "tags: [fine-tuning]" in readme


def test_peft_has_no_adapter_for_it(tmp_path: Path) -> None:
    assert "which is a model of its own and no adapter" in refused_by_peft(tmp_path, "bert", FULL)


def test_a_baseline_on_the_backbone_as_it_was_is_refused(tmp_path: Path, capsys: Any) -> None:
    recipe = write_recipe(tmp_path, "llama", prompt=FULL)
    assert main(["train", str(recipe), "train.head_only_baseline=true"]) == 2
    assert "the baseline needs the backbone as it was before training" in capsys.readouterr().err


def test_inspect_counts_the_backbone_as_trained(tmp_path: Path, capsys: Any) -> None:
    assert main(["inspect", str(write_recipe(tmp_path, "bert", prompt=FULL))]) == 0
    printed = capsys.readouterr().out
    (line,) = [one for one in printed.splitlines() if one.startswith("backbone")]
    whole = sum(p.numel() for p in AutoModel.from_pretrained(tmp_path / "backbone").parameters())
    assert line.split()[1:3] == ["trained", f"{whole:,}"]
    assert "fine-tuning: every parameter of the backbone" in printed
