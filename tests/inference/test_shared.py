"""Several models on one backbone: what a batch takes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny import write_text_recipe
from torch import Tensor
from untrained import export_untrained

from ptv2_scale import Predictor
from ptv2_scale.methods.base import Entry, Mix
from ptv2_scale.methods.prefix.method import PrefixMethod

TEXTS = ["w1 w2 w3 w4", "w5 w6 w7", "w8 w9", "w20"]  # batches have the longest first


def test_a_batch_mixes_the_prefixes_of_its_own_rows_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_text_recipe(tmp_path, "llama", evaluate={"micro_batch": 2})
    folders = [
        export_untrained(recipe, tmp_path / name, f"train.seed={seed}", "prompt.init_scale=1.0")
        for seed, name in enumerate("abcd")
    ]
    rows = [{"input": text, "export": name} for text, name in zip(TEXTS, "abcd", strict=True)]
    alone = [Predictor.load(one).generate([row])[0] for one, row in zip(folders, rows, strict=True)]
    mixed: list[int] = []
    mixer = PrefixMethod.mixer

    def counted(method: PrefixMethod) -> Mix:
        mix: Any = mixer(method)

        def count(entries: Sequence[Any], owners: Tensor) -> Entry:
            mixed.append(len(entries))
            made: Entry = mix(entries, owners)
            return made

        return count

    monkeypatch.setattr(PrefixMethod, "mixer", counted)
    assert Predictor.load(*folders).generate(rows) == alone
    assert set(mixed) == {2}
