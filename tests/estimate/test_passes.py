"""Bytes of passes on the meta device against the CPU allocator's own events in real passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from points import sample
from tiny import write_cloze_recipe, write_recipe, write_text_recipe
from torch.profiler import ProfilerActivity, profile

from ptv2_scale.backbones.load import Unsharded, materialise
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.config import load_recipe
from ptv2_scale.data.collate import Padding
from ptv2_scale.estimate.layers import apply_checkpointing
from ptv2_scale.estimate.passes import measure_pass
from ptv2_scale.model.setup import Setup, build_model, first_values, model_filler, open_setup

WIDE = {"hidden_size": 64, "intermediate_size": 256}
WIDE_T5 = {"d_model": 64, "d_ff": 256}
WRITE = {"text": write_text_recipe, "cloze": write_cloze_recipe, "class": write_recipe}
FULL, LORA = {"method": "full"}, {"method": "lora"}
PROMPT = {"method": "prompt", "length": 6}
# Architecture, task, method, tokens, checkpointing, dropout inside the backbone.
CASES: list[tuple[str, str, dict[str, Any], int, bool, float]] = [
    ("bert", "class", {}, 96, True, 0.0),
    ("bert", "class", FULL, 64, False, 0.1),
    ("t5", "class", {}, 96, False, 0.0),
    ("llama", "text", LORA, 64, True, 0.0),
    ("glm_classic", "class", PROMPT, 128, False, 0.0),
    ("bert", "class", {"method": "none"}, 96, True, 0.0),
    ("t5", "text", {}, 48, True, 0.1),
    ("llama", "class", {}, 128, False, 0.0),
    ("llama", "class", FULL, 96, True, 0.0),
    ("glm", "text", {"dropout": 0.2}, 64, False, 0.0),
    ("glm_classic", "cloze", {}, 96, True, 0.0),
    ("deberta", "class", {}, 64, True, 0.1),
    ("gemma2", "class", {}, 64, False, 0.0),
    ("bert", "class", {"method": "ptuning", "length": 6}, 96, False, 0.1),
]


def opened(
    folder: Path, case: tuple[str, str, dict[str, Any], int, bool, float], *more: str
) -> Setup:
    kind, task, prompt, length, checkpointing, dropout = case
    write: Any = WRITE[task]
    recipe = write(folder, kind, backbone_config=WIDE_T5 if kind == "t5" else WIDE)
    words = [f"task.max_length={length}", f"backbone.dropout={dropout}"]
    words += ["train.micro_batch=4", "train.global_batch=8", "evaluate.micro_batch=4"]
    words += [f"train.gradient_checkpointing={str(checkpointing).lower()}"]
    if "method" in prompt:
        words += [f"prompt={prompt}"]
    else:
        words += [f"prompt.{key}={value}" for key, value in prompt.items()]
    return open_setup(load_recipe(recipe, [*words, *more]))


def allocated(setup: Setup) -> tuple[int, int]:
    """Peaks of what a batch of training, and of evaluation, allocates by PyTorch's profiler."""
    model = build_model(setup)
    filler = model_filler(setup, model, NamedTensors(first_values(setup)))
    materialise(model, filler, Unsharded())
    model.train()
    apply_checkpointing(setup, model)
    for parameter in model.trained().values():
        parameter.register_post_accumulate_grad_hook(lambda one: setattr(one, "grad", None))
    longest = setup.config.task.longest
    (long,), (short,) = setup.task.longest(longest), setup.task.longest(longest - 1)
    batch = setup.task.collate([long, long, long, short], Padding(0)).to(torch.device("cpu"))

    def train() -> None:
        setup.task.loss_sum(model(**batch.arguments).outputs, batch.targets).backward()

    def evaluate() -> None:
        with torch.no_grad():
            model.eval()(**batch.arguments)

    return most_allocated(train), most_allocated(evaluate)


def most_allocated(run: Callable[[], None]) -> int:
    run()  # what is made once and stays
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    found = profiler.profiler.kineto_results.events()
    events = sorted((e for e in found if e.name() == "[memory]"), key=lambda e: e.start_ns())
    return int(torch.tensor([event.nbytes() for event in events]).cumsum(0).max())


@pytest.mark.parametrize("case", sample(CASES, 4), ids=lambda case: "-".join(map(str, case)))
def test_a_pass_takes_what_is_estimated(case: Any, tmp_path: Path) -> None:
    check_estimate(opened(tmp_path, case), case)


def test_so_does_one_with_weights_in_8_bits(tmp_path: Path) -> None:
    """Of few short texts: what is dequantised for a moment is most of it."""
    case = ("llama", "class", {"length": 1}, 4, False, 0.0)
    setup = opened(tmp_path, case, "backbone.quantization=int8")
    check_estimate(setup, case)


def check_estimate(setup: Setup, case: Any) -> None:
    found, (training, evaluation) = measure_pass(setup, "cpu"), allocated(setup)
    print("MEASURED", case, found.training, training, found.evaluation, evaluation)
    assert found.training == pytest.approx(training, rel=0.1)
    assert found.evaluation == pytest.approx(evaluation, rel=0.1)


def route_of(setup: Setup, route: str) -> Setup:
    section = setup.config.backbone.model_copy(update={"attention": route})
    return replace(setup, config=setup.config.model_copy(update={"backbone": section}))


def test_a_causal_pass_keeps_no_mask_on_a_gpu(tmp_path: Path) -> None:
    """Of each layer's mask in fp32, [4 texts, 1, 128, 134], whose rows CUDA pads to 144."""
    setup = opened(tmp_path, ("llama", "class", {}, 128, False, 0.0))
    plain, causal = (measure_pass(route_of(setup, one), "cuda") for one in ("sdpa", "causal"))
    masks = 3 * 4 * 128 * 144 * 4
    assert masks <= plain.training - causal.training <= 2 * masks
    assert causal.evaluation < plain.evaluation


def test_a_causal_pass_on_a_cpu_takes_what_is_estimated(tmp_path: Path) -> None:
    """There PyTorch writes the triangle out, once for all texts."""
    setup = route_of(opened(tmp_path, ("llama", "class", {}, 128, False, 0.0)), "causal")
    found, (training, evaluation) = measure_pass(setup, "cpu"), allocated(setup)
    assert found.training == pytest.approx(training, rel=0.1)
    assert found.evaluation == pytest.approx(evaluation, rel=0.1)


@pytest.mark.parametrize("kind", ["t5", "gemma2"])
def test_flex_attention_keeps_no_scores_on_a_gpu_and_is_sdpa_on_a_cpu(
    kind: str, tmp_path: Path
) -> None:
    setup = opened(tmp_path, (kind, "class", {}, 128, False, 0.0))
    plain, flex = route_of(setup, "sdpa"), route_of(setup, "flex")
    assert measure_pass(plain, "cpu") == measure_pass(flex, "cpu")
    # T5's masks have its bias, Gemma's weights are written out: [4 texts, 4 heads, 128, 134], fp32.
    scores = 3 * 4 * 4 * 128 * 134 * 4
    saved = measure_pass(plain, "cuda").training - measure_pass(flex, "cuda").training
    assert saved > 0.9 * scores  # queries and outputs are kept for the prefix, too
