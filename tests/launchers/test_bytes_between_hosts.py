"""What crosses hosts in a step: under hpZ no weight of the frozen backbone."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from cluster import Cluster
from hosted import Run
from points import at_length
from safetensors import safe_open
from tiny import write_recipe

FIRST, LAST, STEPS = 1, 5, 7
PERSISTENT = 100_000  # smaller ones are on every rank anyway: stage3_param_persistence_threshold


def sharded_bytes(backbone: Path) -> int:
    with safe_open(backbone / "model.safetensors", "pt") as file:
        sizes = [file.get_tensor(name).numel() for name in file.keys()]  # noqa: SIM118
    return sum(4 * size for size in sizes if size > PERSISTENT)


def bytes_of_a_step(run: Run, hosts: Cluster) -> int:
    """Bytes that leave both hosts in a step, of those from the second on."""
    launched = run.launch(hosts, "--no-doctor", "--transport", "ssh")

    def sent_at(step: int) -> int:
        until = time.monotonic() + 120
        while not run.steps() or run.steps()[-1] < step:
            assert launched.process.poll() is None, launched.text()
            assert time.monotonic() < until, launched.text()
            time.sleep(0.005)
        return hosts.sent(1) + hosts.sent(2)

    before, after = sent_at(FIRST), sent_at(LAST)
    launched.must_succeed()
    return (after - before) // (LAST - FIRST)


@at_length
def test_under_hpz_no_weight_crosses_after_the_first_step(
    cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    recipe = write_recipe(
        tmp_path,
        "llama",
        backbone_config={"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 4},
        prompt={"length": 2},
        train={"steps": STEPS, "global_batch": 4},
        evaluate={"every": 1000},
    )
    hosts, weights = cluster(2, 2), sharded_bytes(tmp_path / "backbone")
    found = {
        name: bytes_of_a_step(Run(tmp_path / name, (str(recipe), f"deepspeed={name}")), hosts)
        for name in ("zero3", "zero3_hpz")
    }
    for name, count in {**found, "weights": weights}.items():
        print(f"{name}: {count:,} bytes")
    # A forward and a backward pass, each with half of every weight in each direction.
    assert found["zero3"] > 2 * weights
    assert found["zero3_hpz"] < weights / 100
