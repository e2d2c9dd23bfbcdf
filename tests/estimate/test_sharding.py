"""The least sharding that makes a recipe fit, against trying all of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest

from ptv2_scale.backbones import naming
from ptv2_scale.config import RunConfig, override
from ptv2_scale.estimate import passes
from ptv2_scale.estimate.checkpointing import fewest_layers
from ptv2_scale.estimate.fitting import estimate, needed, verdict
from ptv2_scale.estimate.kernels import Device
from ptv2_scale.estimate.passes import MeasuredPasses
from ptv2_scale.estimate.sharding import last_resort, least_sharding, shardings
from ptv2_scale.estimate.zero import Cluster
from ptv2_scale.model.setup import Setup, open_shapes

# Larger than what ZeRO-3 keeps gathered, or sharding would save nothing.
WIDE = {"num_layers": 3, "hidden_size": 8192, "num_attention_heads": 64}
HOSTS, HOST, ONE = Cluster(2, 4), Cluster(1, 8), Cluster(1, 1)
FULL = ("prompt={method: full}",)
PLENTY = 2**50


def opened(monkeypatch: pytest.MonkeyPatch, *words: str) -> Setup:
    monkeypatch.setitem(
        naming.PRESETS,  # type: ignore[arg-type]
        "glm-wide",
        {**naming.PRESETS["glm-10b"], **WIDE},
    )
    recipe: dict[str, Any] = {
        "backbone": {"name": "glm-wide", "dtype": "bf16"},
        "prompt": {"length": 16},
        "task": {"name": "demo", "max_length": 256},
        "train": {"micro_batch": 32, "global_batch": 256},
    }
    return open_shapes(override(RunConfig.model_validate(recipe), words))


class Totals:
    """What each sharding takes of a rank with some layers computed again, by recipes in words."""

    def __init__(self, setup: Setup, ranks: Cluster, device: Device) -> None:
        self._setup, self._ranks, self._device = setup, ranks, device
        self._measure = MeasuredPasses()

    def of(self, name: str, layers: str) -> int:
        words = [f"deepspeed={name}", f"train.gradient_checkpointing={layers}"]
        setup = open_shapes(override(self._setup.config, words))
        found = estimate(setup, self._ranks, self._device, self._measure)
        return needed(found, self._ranks, self._device)

    def chosen(self, limit: int) -> str:
        return least_sharding(self._setup, self._ranks, self._device, limit, self._measure)


def around(totals: Sequence[int]) -> list[int]:
    """Limits that each of some totals just fits, and just does not."""
    return [limit for total in totals for limit in (int(1.1 * total) + 1, int(1.1 * total) - 1)]


POINTS: list[tuple[Cluster, Device, tuple[str, ...], str]] = [
    (HOSTS, "cuda", (), "auto"),
    (HOST, "cuda", (), "auto"),
    (HOSTS, "cpu", (), "auto"),
    (HOSTS, "cuda", (), "true"),
    (HOSTS, "cuda", FULL, "auto"),
    (ONE, "cuda", (), "auto"),
    (ONE, "cuda", FULL, "false"),
]


@pytest.mark.parametrize(("ranks", "device", "words", "said"), POINTS)
def test_the_first_that_fits_is_taken_of_all(
    ranks: Cluster,
    device: Device,
    words: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setup = opened(monkeypatch, f"train.gradient_checkpointing={said}", *words)
    totals, names = Totals(setup, ranks, device), shardings(setup.config, ranks)
    ways = list(product(("false", "true") if said == "auto" else (said,), names))
    taken = {way: totals.of(way[1], way[0]) for way in ways}
    for limit in (1, PLENTY, *around(list(taken.values()))):
        fitting = [name for (_, name), total in taken.items() if verdict(total, limit) == "fits"]
        wanted = [*fitting, last_resort(setup.config, ranks, device)][0]
        assert totals.chosen(limit) == wanted, limit


def test_memory_that_shrinks_takes_more_sharding_and_then_layers_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    totals = Totals(opened(monkeypatch), HOSTS, "cuda")
    ways = [(name, layers) for layers in ("false", "true") for name in shardings_of_hosts()]
    needs = [totals.of(*way) for way in ways]
    # What a rank has of 2.8 billion frozen weights: all; a quarter and an eighth; an eighth.
    assert needs == sorted(needs, reverse=True)
    assert [totals.chosen(int(1.1 * need) + 1) for need in needs] == [
        *("zero1", "zero3_hpz", "zero3"),
        *("zero1", "zero3_hpz", "zero3"),
    ]
    assert totals.chosen(int(1.1 * needs[-1]) - 1) == "zero3_offload_cpu"


def shardings_of_hosts() -> tuple[str, ...]:
    return ("zero1", "zero3_hpz", "zero3")


def test_what_can_be_chosen_depends_on_the_ranks_and_on_what_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frozen, trained = opened(monkeypatch).config, opened(monkeypatch, *FULL).config
    assert shardings(frozen, HOSTS) == shardings_of_hosts()
    assert shardings(frozen, HOST) == shardings(frozen, Cluster(8, 1)) == ("zero1", "zero3")
    assert shardings(frozen, ONE) == ("zero1",)
    assert shardings(trained, HOSTS) == ("zero2", "zero3_hpz", "zero3")
    assert shardings(trained, ONE) == ("zero2",)
    assert last_resort(frozen, HOST, "cuda") == last_resort(frozen, ONE, "cuda")
    assert last_resort(frozen, HOST, "cuda") == "zero3_offload_cpu"
    assert last_resort(trained, HOST, "cuda") == last_resort(frozen, HOST, "cpu") == "zero3"
    assert last_resort(frozen, ONE, "cpu") == "zero1"


def test_offloading_gains_nothing_where_ranks_compute_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    totals = Totals(opened(monkeypatch), HOST, "cpu")
    assert totals.of("zero3_offload_cpu", "true") == totals.of("zero3", "true")


def test_what_is_named_already_is_no_matter_and_unknown_memory_is_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setup = opened(monkeypatch, "deepspeed=zero3_offload_nvme")
    assert least_sharding(setup, HOSTS, "cuda", PLENTY) == "zero1"
    assert least_sharding(setup, HOSTS, "cpu", None) == "zero1"


def test_one_pass_is_measured_for_sharding_and_layers_where_all_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured, real = [], passes.measure_pass

    def counted(setup: Setup, device: Device) -> passes.PassMemory:
        measured.append(setup.config.train.gradient_checkpointing)
        return real(setup, device)

    monkeypatch.setattr(passes, "measure_pass", counted)
    setup, measure = opened(monkeypatch), MeasuredPasses()
    assert least_sharding(setup, HOSTS, "cuda", PLENTY, measure) == "zero1"
    chosen = open_shapes(override(setup.config, ["deepspeed=zero1"]))
    assert fewest_layers(chosen, HOSTS, "cuda", PLENTY, measure) is False
    assert measured == [False]
    assert least_sharding(setup, HOSTS, "cuda", 1, measure) == "zero3_offload_cpu"
    assert measured == [False, True]
    assert least_sharding(setup, ONE, "cpu", 1, measure) == "zero1"  # there is nothing to choose
    other = open_shapes(override(setup.config, ["train.micro_batch=16"]))
    least_sharding(other, HOSTS, "cuda", PLENTY, measure)
    assert measured == [False, True, False]
