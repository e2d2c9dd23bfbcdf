"""What `inspect` counts, against transformers' own count and closed forms."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tiny import write_recipe
from transformers import AutoModel

from ptv2_scale.cli import main

LABELS = ["no", "yes", "perhaps"]
TEXT = "w3 w4 : w5"
LENGTH = 6
# One step that changes nothing: what a run then exports are its first values.
STILL = ("train.steps=1", "train.lr=1e-30")


def number(text: str) -> int:
    return int(text.replace(",", ""))


@pytest.mark.parametrize(
    ("kind", "overrides", "slots"),
    [
        ("t5", (), {"encoder": 3, "decoder": 2, "cross": 2}),
        ("t5", ("prompt.slots=[cross]", "prompt.length=100"), {"cross": 2}),
        ("bert", ("prompt.encoder=mlp", "prompt.hidden=10", "prompt.layers=2-3"), {"encoder": 2}),
        ("llama", ("prompt={method: none}", "task.head=hf"), {}),
    ],
)
def test_inspect_counts_what_is_there(
    kind: str, overrides: tuple[str, ...], slots: dict[str, int], tmp_path: Path, capsys: Any
) -> None:
    recipe = write_recipe(tmp_path, kind, task={"labels": LABELS})
    assert main(["inspect", str(recipe), *overrides]) == 0
    lines = capsys.readouterr().out.splitlines()
    counts = {
        part: number(line.removeprefix(part).split()[1])
        for part in ("backbone", "prefix encoder", "head")
        for line in lines
        if line.startswith(part)
    }
    model = AutoModel.from_pretrained(tmp_path / "backbone")
    length = 100 if "prompt.length=100" in overrides else LENGTH
    row = sum(slots.values()) * 2 * {"t5": 48, "bert": 32, "llama": 16}[kind]
    prefix = {"bert": length * 32 + 32 * 10 + 10 + 10 * row + row}.get(kind, length * row)
    assert counts == {
        "backbone": sum(parameter.numel() for parameter in model.parameters()),
        **({"prefix encoder": prefix} if slots else {}),  # a head alone has none
        "head": 32 * 3 + (0 if kind == "llama" else 3),
    }
    shares = [float(line.split("%")[0].split()[-1]) for line in lines if "%" in line]
    assert sum(shares) == pytest.approx(100, abs=1e-3)
    reported = [line for line in lines if line.startswith("prefix: ")]
    assert len(reported) == bool(slots)
    for line in reported:
        assert line.startswith(f"prefix: {length} tokens x {sum(slots.values())} slots (")
        assert all(f"{count} {slot}" in line for slot, count in slots.items())


def test_inspect_sizes_are_those_of_the_dtype(tmp_path: Path, capsys: Any) -> None:
    recipe = write_recipe(tmp_path, "bert")
    backbone_bytes = Counter[str]()
    for dtype in ("fp32", "bf16"):
        assert main(["inspect", str(recipe), f"backbone.dtype={dtype}"]) == 0
        line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("backbone"))
        assert line.endswith(f"MiB in {dtype}")
        backbone_bytes[dtype] = round(float(line.split()[-4]) * 100)
    assert backbone_bytes["fp32"] == pytest.approx(2 * backbone_bytes["bf16"], abs=1)


def test_inspect_says_what_is_kept_in_8_bits(tmp_path: Path, capsys: Any) -> None:
    recipe = str(write_recipe(tmp_path, "bert"))
    printed = []
    for words in ([], ["backbone.quantization=int8"]):
        assert main(["inspect", recipe, *words]) == 0
        printed.append(capsys.readouterr().out)
    plain, int8 = ([one.split() for one in text.splitlines() if one] for text in printed)
    said = "of the backbone, linear layers are kept in int8"
    assert said in printed[1]
    assert said not in printed[0]
    rows = [next(one for one in lines if one[0] == "backbone") for lines in (plain, int8)]
    assert rows[0][:4] == rows[1][:4]  # as many parameters
    assert float(rows[1][-4]) < 0.6 * float(rows[0][-4])
