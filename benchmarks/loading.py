"""Loading a sharded backbone: this package against `from_pretrained` under `HfDeepSpeedConfig`.

A T5 of 1.68 billion random parameters (14 + 14 layers, bf16, files of 1 GB) is made in WORK and
loaded under ZeRO-3 by two ranks on this host (gloo), in processes of their own:

    .venv/bin/python benchmarks/loading.py WORK [--rounds 2] [--cold] [--against int8]

The two sides take turns. Both end with the same shards: sums over their bits are compared. With
`--against int8` the other side is this package with `backbone.quantization: int8`. Prints
a Markdown table and writes WORK/loading.json. Memory is anonymous memory (RssAnon), which pages of
mapped files are no part of, sampled 50 times a second; that before loading is what imports and
DeepSpeed's start have taken. Bytes read are those of read calls; what is mapped is beside them.
`--cold` drops the files from the system's cache before each turn.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

from random_weights import write_weights

OURS, OTHERS = "ptv2_scale", ("from_pretrained", "int8")
WORLD, SHARD_BYTES, SAMPLE_S = 2, 10**9, 0.02
SETTINGS = {
    "train_micro_batch_size_per_gpu": 1,
    "bf16": {"enabled": True},
    "zero_optimization": {"stage": 3},
}


def make_backbone(folder: Path, layers: int) -> None:
    """Write a T5 of random weights, piece by piece."""
    import torch
    from transformers import T5Config

    from ptv2_scale.runtime.pieces import PIECE

    config = T5Config(
        num_layers=layers, d_model=1024, d_ff=16384, d_kv=128, num_heads=32, vocab_size=32128,
        dtype=torch.bfloat16, architectures=["T5Model"],
    )  # fmt: skip
    folder.mkdir(parents=True)
    config.save_pretrained(folder)
    values = (torch.randn(PIECE, generator=torch.Generator().manual_seed(7)) * 0.05).bfloat16()
    write_weights(config, folder, SHARD_BYTES, lambda name, count: values[:count])


def load_ours(folder: Path, ranks: Any, quantization: Literal["int8"] | None = None) -> Any:
    """The backbone as a run loads it."""
    import torch

    from ptv2_scale.backbones.load import build_empty, open_backbone, weight_filler
    from ptv2_scale.engine.loading import load_weights

    files = open_backbone(str(folder))
    model = build_empty(files, torch.bfloat16, quantization=quantization)
    load_weights(model, weight_filler(files, model), SETTINGS, ranks)
    return model


def load_theirs(folder: Path, ranks: Any) -> Any:
    """The backbone as transformers loads it where DeepSpeed's configuration is known."""
    import torch
    from transformers import AutoModel
    from transformers.integrations import HfDeepSpeedConfig

    known = HfDeepSpeedConfig(SETTINGS)  # found by a weak reference
    model = AutoModel.from_pretrained(folder, dtype=torch.bfloat16)
    del known
    return model


def rank(side: str, folder: Path) -> None:
    """One rank: load, and print what it took as JSON."""
    import torch
    from transformers import T5Model  # noqa: F401 - no import is to be part of what is measured
    from transformers.integrations import HfDeepSpeedConfig  # noqa: F401

    from ptv2_scale.engine import loading  # noqa: F401
    from ptv2_scale.engine.join import start, stop

    sides: dict[str, Callable[[Path, Any], Any]] = {
        OURS: load_ours,
        "from_pretrained": load_theirs,
        "int8": partial(load_ours, quantization="int8"),
    }
    load, ranks = sides[side], start(1)
    before = {**_used(), "anonymous": status_bytes("RssAnon")}
    began = time.monotonic()
    model = load(folder, ranks)
    took = time.monotonic() - began
    after = _used()
    shards: list[Any] = [one.ds_tensor for one in model.parameters()]
    found = {
        "seconds": took,
        "processor": after["processor"] - before["processor"],
        "read": after["read"] - before["read"],
        "before": before["anonymous"],
        "shard": sum(one.nbytes for one in shards),
        "sum": sum(int(one.view(torch.int16).sum(dtype=torch.int64)) for one in shards),
    }
    print("FOUND", json.dumps(found), flush=True)
    stop()


def _used() -> dict[str, float]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    lines = Path("/proc/self/io").read_text().splitlines()
    read = next(int(line.split()[1]) for line in lines if line.startswith("rchar"))
    return {"processor": usage.ru_utime + usage.ru_stime, "read": read}


def status_bytes(key: str, process: int | str = "self") -> int:
    """Bytes that the kernel reports of a process; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(one.split()[1]) * 1024 for one in lines if one.startswith(f"{key}:")), 0)


class Peaks:
    """The most that each of some processes has had of two kinds of memory."""

    def __init__(self, processes: Sequence[int]) -> None:
        self.most = {process: {"RssAnon": 0, "RssFile": 0} for process in processes}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Peaks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            for process, most in self.most.items():
                for key in most:
                    most[key] = max(most[key], status_bytes(key, process))


def turn(side: str, folder: Path) -> dict[str, float]:
    """Load once on all ranks; of each figure the most of any rank."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = [
        subprocess.Popen(
            [sys.executable, __file__, str(folder), "--rank-of", side],
            env={
                **os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "RANK": str(one),
                "LOCAL_RANK": str(one), "WORLD_SIZE": str(WORLD), "LOCAL_WORLD_SIZE": str(WORLD),
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "HF_HUB_OFFLINE": "1",
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        for one in range(WORLD)
    ]  # fmt: skip
    with Peaks([one.pid for one in ranks]) as peaks:
        outputs = [one.communicate()[0] for one in ranks]
    if any(one.returncode for one in ranks):
        raise SystemExit(f"{side}: a rank failed")
    found = [
        {**json.loads(line.removeprefix("FOUND")), **peaks.most[one.pid]}
        for one, output in zip(ranks, outputs, strict=True)
        for line in output.splitlines()
        if line.startswith("FOUND")
    ]
    most = {key: max(one[key] for one in found) for key in found[0]}
    return {**most, "sum": sum(one["sum"] for one in found)}


def forget(folder: Path) -> None:
    """Drop a folder's files from the system's cache."""
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def turns(folder: Path, other: str, rounds: int, cold: bool) -> dict[str, list[dict[str, float]]]:
    """All turns of both sides, one after the other."""
    found: dict[str, list[dict[str, float]]] = {side: [] for side in (OURS, other)}
    for number in range(rounds):
        for side in found:
            if cold:
                forget(folder)
            found[side].append(turn(side, folder))
            print(f"{number + 1} {side}: {found[side][-1]}", file=sys.stderr, flush=True)
    sums = {one["sum"] for each in found.values() for one in each}
    if other == "from_pretrained" and len(sums) != 1:
        raise SystemExit("the two sides have loaded different weights")
    return found


def table(found: dict[str, list[dict[str, float]]]) -> Iterator[str]:
    """Rows of the table, and the ratio of the sides."""
    yield (
        "| loaded by | seconds | processor s | GB/s | shard GiB | private GiB | above the shard"
        " | before loading | read GiB | mapped GiB |"
    )
    yield "|" + " --- |" * 10
    for side, each in found.items():
        one = {key: median(turn[key] for turn in each) for key in each[0]}
        gib = {key: value / 2**30 for key, value in one.items()}
        peak = max(turn["RssAnon"] for turn in each) / 2**30
        yield (
            f"| {side} | {one['seconds']:.1f} | {one['processor']:.1f}"
            f" | {one['shard'] / one['seconds'] / 1e9:.2f} | {gib['shard']:.2f} | {peak:.2f}"
            f" | {peak - gib['shard']:.2f} | {gib['before']:.2f} | {gib['read']:.2f}"
            f" | {gib['RssFile']:.2f} |"
        )
    ours, theirs = (median(one["seconds"] for one in each) for each in found.values())
    yield f"\n{theirs / ours:.1f} times faster."


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder to be made, or one that was made by this")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--layers", type=int, default=14, help="of encoder and decoder each")
    parser.add_argument("--cold", action="store_true", help="drop the files from the cache first")
    parser.add_argument("--against", choices=OTHERS, default=OTHERS[0])
    parser.add_argument("--rank-of", choices=(OURS, *OTHERS), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.rank_of:
        rank(asked.rank_of, asked.work)
        return
    folder = asked.work / "backbone"
    if not folder.is_dir():
        make_backbone(folder, asked.layers)
    found = turns(folder, asked.against, asked.rounds, asked.cold)
    (asked.work / "loading.json").write_text(json.dumps(found, indent=1))
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
