"""Texts that answer rows: alone and beside rows of other exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from tiny import write_recipe, write_text_recipe
from untrained import export_untrained

from ptv2_scale import Predictor, UserError, load_prompted, load_row_encoder
from ptv2_scale.backbones.sampling import Sampling
from ptv2_scale.inference.shared import Mixture
from ptv2_scale.inference.writing import GenerationOptions

EXPORTS = {
    "short": ["prompt.length=3", "prompt.positions=keep", "prompt.init_scale=1.0"],
    "long": ["prompt.length=9", "prompt.layers=1-2", "prompt.init_scale=1.0"],
    "rows": ["prompt={method: prompt, length: 4}"],
}
MOST = 7  # tokens of an answer
TEXTS = ["w1 w2 w3 w4 w5", "w9", "w20 w21", "w7 w8 w9", "w30", "w31 w32"]
SETTINGS: list[dict[str, Any]] = [{}, {"num_beams": 3}, {"temperature": 2.0, "seed": 1}]


@pytest.fixture(scope="module", params=["t5", "llama"])
def runs(request: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two prefixes that differ in all that they may, and a prompt, on one backbone."""
    folder = tmp_path_factory.mktemp(request.param)
    recipe = write_text_recipe(folder, request.param, evaluate={"micro_batch": 4})
    most = f"task.max_new_tokens={MOST}"
    return [
        export_untrained(recipe, folder / name, most, f"train.seed={seed}", *overrides)
        for seed, (name, overrides) in enumerate(EXPORTS.items())
    ]


def named(runs: list[Path]) -> list[dict[str, object]]:
    names = [runs[number % len(runs)].name for number in range(len(TEXTS))]
    return [{"input": text, "export": name} for text, name in zip(TEXTS, names, strict=True)]


def test_beside_other_exports_a_row_has_the_text_of_its_own(runs: list[Path]) -> None:
    rows, several, asked = named(runs), Predictor.load(*runs), []
    alone = {run.name: Predictor.load(run) for run in runs}
    run = several._run

    def recording(mixture: Mixture, **inputs: Any) -> Any:
        asked.append((mixture.models, set(mixture.owners)))
        return run(mixture=mixture, **inputs)

    several._run = recording
    for settings in SETTINGS:
        answers = {
            name: one.generate(rows, max_new_tokens=5, **settings) for name, one in alone.items()
        }
        found = several.generate(rows, max_new_tokens=5, **settings)
        assert found == [answers[str(row["export"])][n] for n, row in enumerate(rows)]
        assert len({str(answer) for answer in answers.values()}) == len(runs)
    # Both prefixes in the same batch; the prompt in one of its own.
    assert asked == [((0, 1), {0, 1}), ((2,), {0})] * len(SETTINGS)


def test_part_by_part_a_row_has_the_text_that_it_has_among_all(tmp_path: Path) -> None:
    recipe = write_text_recipe(tmp_path, "llama", evaluate={"micro_batch": 1})
    predictor = Predictor.load(export_untrained(recipe, tmp_path / "export"))
    rows = [{"input": f"w{number}"} for number in range(40)]  # a part has 32 of them
    options = GenerationOptions(2, Sampling(temperature=100.0, seed=5))
    whole = predictor.generate(rows, max_new_tokens=2, temperature=100.0, seed=5)
    reported: list[tuple[int, int]] = []
    first, second = predictor.generate_parts(
        rows, options, on_progress=lambda *found: reported.append(found)
    )
    assert [*first, *second] == whole
    assert (len(first), len(second)) == (32, 8)
    # Its end is reported by who keeps a part.
    assert reported == [(done, 40) for done in range(40)]
    assert list(predictor.generate_parts(rows, options, 32)) == [second]
    assert list(predictor.generate_parts(rows, options, 40)) == []


def test_prefixes_with_gates_are_answered_apart(tmp_path: Path) -> None:
    recipe = write_text_recipe(tmp_path, "llama")
    gated = ["prompt.gate=true", "prompt.init_scale=1.0"]  # zero at first: nothing comes through
    folders = [
        export_untrained(recipe, tmp_path / name, f"train.seed={seed}", *gated)
        for seed, name in enumerate(("one", "two"))
    ]
    rows = [{"input": text, "export": folder.name} for text in TEXTS for folder in folders]
    alone = {folder.name: Predictor.load(folder).generate(rows) for folder in folders}
    found = Predictor.load(*folders).generate(rows)
    assert found == [alone[str(row["export"])][number] for number, row in enumerate(rows)]


def test_what_is_frozen_is_there_once(runs: list[Path]) -> None:
    """Another export adds the tensors of its file, and no more."""
    one, two = (Predictor.load(*runs[:count])._run for count in (1, 2))
    added = sum(p.numel() for p in two.parameters()) - sum(p.numel() for p in one.parameters())
    tensors = load_file(runs[1] / "prompt.safetensors")
    assert added == sum(tensor.numel() for tensor in tensors.values())


def test_predict_writes_what_generate_of_the_plain_module_does(runs: list[Path]) -> None:
    predictor = Predictor.load(runs[0])
    rows = [{"input": text} for text in TEXTS]
    found = predictor.predict(rows)
    model, encode = load_prompted(runs[0]), load_row_encoder(runs[0])
    tokenizer = predictor._exports["short"].setup.tokenizer
    for row, record in zip(rows, found, strict=True):
        (tokens,) = model.generate(tokenizer.eos_token_id, MOST, **encode([row]))
        words = tokenizer.convert_ids_to_tokens(tokens)  # None for the backbone's spare rows
        expected = [word for word in words if word and word not in tokenizer.all_special_tokens]
        assert record == {"text": " ".join(expected), "finished": len(tokens) < MOST}


def message_of(predictor: Predictor, rows: Any, name: str | None = None, **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        predictor.generate(rows, name, **settings)
    return str(caught.value)


def test_what_cannot_be_written_is_named(runs: list[Path]) -> None:
    several, row = Predictor.load(*runs), {"input": "w1"}
    assert message_of(several, [{**row, "export": "long"}, row]) == (
        "row 2, column 'export': is missing; of several exports each row names the one that answers"
        " it: short, long, rows."
    )
    assert message_of(several, [{**row, "export": "lon"}]).endswith("Did you mean 'long'?")
    assert "row 2: no column 'input'" in message_of(several, [row, {}], "short")
    assert "num_beams and seed: a beam search draws nothing" in message_of(
        several, [row], "short", num_beams=2, seed=1
    )
    for wrong in ({"num_beams": 0}, {"top_p": 0.0}, {"max_new_tokens": 0}):
        assert "allowed" in message_of(several, [row], "short", **wrong)
    assert "Give num_beams" in message_of(several, [row], "short", length_penalty=2.0)
    assert several.generate([], "short") == []


def test_answers_have_to_fit_the_position_table(tmp_path: Path) -> None:
    predictor = Predictor.load(
        export_untrained(write_text_recipe(tmp_path, "gpt2"), tmp_path / "export")
    )
    row = {"input": "w1 w2"}  # with <s> three tokens, behind a prefix of six; the table has 160
    assert len(predictor.generate([row], max_new_tokens=160 - 6 - 3 + 1)) == 1
    found = message_of(predictor, [row], max_new_tokens=160 - 6 - 3 + 2)
    assert "a text of 3 tokens with an answer of max_new_tokens = 153 is too long" in found


def test_a_task_whose_answers_are_no_texts(tmp_path: Path) -> None:
    predictor = Predictor.load(export_untrained(write_recipe(tmp_path), tmp_path / "export"))
    assert "is of task.kind: classification" in message_of(predictor, [{"text": "w1"}])
