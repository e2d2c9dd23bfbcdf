"""Evaluation: every example once, in order, whatever the batches are; one record a row."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import write_recipe

from ptv2_scale import load_prompted
from ptv2_scale.config import load_recipe
from ptv2_scale.data.collate import Example
from ptv2_scale.distributed.ranks import RankContext
from ptv2_scale.inference.forward import by_rows, forward_all
from ptv2_scale.model.prompted import PromptedOutput
from ptv2_scale.model.setup import open_setup

ALONE = RankContext.alone(torch.device("cpu"))


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 7, 20])
def test_every_example_once_in_order(micro_batch: int, tmp_path: Path) -> None:
    config = load_recipe(write_recipe(tmp_path), [f"evaluate.micro_batch={micro_batch}"])
    setup = open_setup(config)
    examples = setup.split("validation").examples
    sizes: list[int] = []

    def run(**inputs: Any) -> PromptedOutput:
        sizes.append(len(inputs["input_ids"]))
        return PromptedOutput(inputs["input_ids"].sum(dim=1), None)

    def take(output: Any, _: Any, rows: list[Example]) -> list[int]:
        return output.outputs[: len(rows)].tolist()

    found = forward_all(run, setup, examples, ALONE, take)
    assert found == [sum(example.inputs["input_ids"]) for example in examples]  # padding is 0
    assert sum(sizes) == len(examples)
    assert max(sizes) <= micro_batch


def test_a_row_of_several_examples_gives_one_record() -> None:
    examples = [Example(row, {"input_ids": [1]}, None) for row in (0, 1, 1, 1, 2)]
    records = [{"part": part} for part in "abcde"]
    task: Any = SimpleNamespace(combine=lambda parts: {"parts": [one["part"] for one in parts]})
    assert [one["parts"] for one in by_rows(task, examples, records)] == [
        ["a"], ["b", "c", "d"], ["e"],
    ]  # fmt: skip


def test_no_export_is_loaded_from_a_folder_without_a_card(tmp_path: Path) -> None:
    from ptv2_scale.runtime.errors import UserError

    with pytest.raises(UserError, match=r"card\.json"):
        load_prompted(tmp_path)
