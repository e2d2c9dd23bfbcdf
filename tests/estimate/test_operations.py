"""Operations counted on the meta device against those of real passes, and a closed form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from points import sample
from tiny import write_recipe, write_text_recipe
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ptv2_scale.backbones.attention import enable_checkpointing
from ptv2_scale.backbones.load import Unsharded, materialise
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.config import load_recipe
from ptv2_scale.data.collate import Padding
from ptv2_scale.estimate.operations import Operations, count_operations
from ptv2_scale.model.setup import Setup, build_model, first_values, model_filler, open_setup

WRITE: dict[str, Any] = {"text": write_text_recipe, "class": write_recipe}
LORA, FULL = {"method": "lora"}, {"method": "full"}
CASES: list[tuple[str, str, dict[str, Any], bool]] = [
    ("bert", "class", {}, True),
    ("t5", "text", {}, False),
    ("llama", "text", LORA, True),
    ("glm_classic", "class", {"method": "prompt", "length": 6}, False),
    ("llama", "class", FULL, False),
    ("gemma2", "class", {}, True),
]


def opened(folder: Path, case: tuple[str, str, dict[str, Any], bool]) -> Setup:
    kind, task, prompt, checkpointing = case
    recipe = WRITE[task](folder, kind, **({"prompt": prompt} if prompt else {}))
    words = ["train.micro_batch=2", f"train.gradient_checkpointing={str(checkpointing).lower()}"]
    return open_setup(load_recipe(recipe, words))


def made(setup: Setup) -> int:
    """Operations of a real pass on the CPU, attention written out."""
    model = build_model(setup)
    filler = model_filler(setup, model, NamedTensors(first_values(setup)))
    materialise(model, filler, Unsharded())
    if setup.config.train.gradient_checkpointing and setup.method.trains_through_backbone:
        enable_checkpointing(model.backbone)
    (example,) = setup.task.longest(setup.config.task.longest)
    batch = setup.task.collate([example] * 2, Padding(0))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        outputs = model.train()(**batch.arguments).outputs
        setup.task.loss_sum(outputs, batch.targets).backward()
    return int(counter.get_total_flops())


@pytest.mark.parametrize("case", sample(CASES, 3), ids=lambda case: "-".join(map(str, case)))
def test_as_many_operations_as_a_real_pass_makes(case: Any, tmp_path: Path) -> None:
    setup = opened(tmp_path, case)
    found, real = count_operations(setup), made(setup)
    print("MEASURED", case, found, real)
    assert found.made == pytest.approx(real, rel=0.02)
    assert (found.repeated > 0) == case[3]
    assert found.tokens == 2 * setup.config.task.longest


def test_a_frozen_backbone_needs_two_passes_and_not_three(tmp_path: Path) -> None:
    sections = {"full": FULL, "prompt": {"method": "prompt", "length": 1}}
    needed = {name: operations(tmp_path / name, one).needed for name, one in sections.items()}
    # 2 operations a weight and token forward, 2 for the input's gradient, 2 for the weight's own.
    assert needed["full"] / needed["prompt"] == pytest.approx(3 / 2, rel=0.15)


def operations(folder: Path, prompt: dict[str, Any]) -> Operations:
    folder.mkdir()
    return count_operations(opened(folder, ("llama", "class", prompt, False)))


def test_a_route_of_attention_needs_as_many_operations(tmp_path: Path) -> None:
    """Hidden scores count. Apart, a text's keys below the prefix are known to need no gradient."""
    recipe = write_recipe(tmp_path, "llama")
    sdpa, causal, flex = (
        count_operations(open_setup(load_recipe(recipe, [f"backbone.attention={one}"])))
        for one in ("sdpa", "causal", "flex")
    )
    assert causal == sdpa
    assert 0.95 * sdpa.needed < flex.needed <= sdpa.needed
