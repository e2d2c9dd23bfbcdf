"""Rows that name their exports, against each export alone on the same backbone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import ranks
import yaml
from tiny import write_recipe, write_text_recipe
from untrained import export_untrained

from ptv2_scale import Predictor, UserError
from ptv2_scale.inference.shared import Mixture

EXPORTS = {
    "short": ["prompt.length=3", "prompt.init_scale=1.0"],
    "long": ["prompt.length=9", "prompt.layers=1-2", "prompt.init_scale=1.0"],
    "rows": ["prompt={method: prompt, length: 4}"],
    "lora": ["prompt={method: lora}"],
}
TEXTS = ["w1 w2 w3 w4 w5", "w9", "w20 w21", "w7 w8 w9", "w30", "w31 w32", "w40 w41 w42", "w2"]
# A kind of task, its section of a recipe, and the row of a text.
KINDS: dict[str, tuple[dict[str, Any], Any]] = {
    "classification": ({}, lambda text: {"text": text}),
    "tagging": (
        {
            "name": "tagging",
            "tokens": "words",
            "tags": "tags",
            "labels": ["B-x", "I-x", "O"],
            "overlap": 4,
        },
        lambda text: {"words": text.split()},
    ),
    "choice": (
        {"name": "choice", "question": "ask", "candidates": ["options"], "answer": "right"},
        lambda text: {"ask": text, "options": text.split()[:1] * 2 + ["w5 w6"]},
    ),
    "span": (
        {"name": "span", "max_length": 16, "stride": 4},
        lambda text: {"id": text, "question": "w3 ?", "context": f"{text} w11 w12 " * 4},
    ),
}


def exports_of(folder: Path, model_type: str, kind: str) -> list[Path]:
    recipe = write_recipe(folder, model_type, evaluate={"micro_batch": 4})
    section, row = KINDS[kind]
    content = yaml.safe_load(recipe.read_text())
    if section:
        data = {"path": str(folder / "data"), "train": "x.jsonl", "validation": "x.jsonl"}
        content["task"] = {"max_length": 24, **data, **section}
        (folder / "data" / "x.jsonl").write_text(json.dumps(row("w1 w2")) + "\n")
    recipe.write_text(yaml.safe_dump(content))
    return [
        export_untrained(recipe, folder / name, f"train.seed={seed}", *overrides)
        for seed, (name, overrides) in enumerate(EXPORTS.items())
    ]


def named(exports: list[Path], kind: str) -> list[dict[str, Any]]:
    row = KINDS[kind][1]
    return [
        {**row(text), "export": exports[number % len(exports)].name}
        for number, text in enumerate(TEXTS)
    ]


def close(found: Any, expected: Any) -> None:
    """Equal but for the last bits of numbers."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            close(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            close(one, other)
    else:
        number = isinstance(expected, float)
        assert found == (pytest.approx(expected, abs=1e-4) if number else expected)


@pytest.mark.parametrize(
    ("model_type", "kind"),
    [("bert", "classification"), ("llama", "classification"), ("t5", "classification"),
     ("bert", "tagging"), ("bert", "choice"), ("bert", "span")],
)  # fmt: skip
def test_beside_other_exports_a_row_has_the_answer_of_its_own(
    model_type: str, kind: str, tmp_path: Path
) -> None:
    exports = exports_of(tmp_path, model_type, kind)
    rows, several, asked = named(exports, kind), Predictor.load(*exports), []
    run = several._run

    def recording(mixture: Mixture, **inputs: Any) -> Any:
        asked.append(mixture.models)
        return run(mixture=mixture, **inputs)

    several._run = recording
    found = several.predict(rows)
    alone = {folder.name: Predictor.load(folder).predict(rows) for folder in exports}
    close(found, [alone[row["export"]][number] for number, row in enumerate(rows)])
    assert len({str(answers) for answers in alone.values()}) == len(exports)
    # Both prefixes in the same batch; the prompt and LoRA in batches of their own.
    assert (0, 1) in asked
    assert {(2,), (3,)} < set(asked)


def test_rows_that_fill_a_batch_share_none(tmp_path: Path) -> None:
    exports = exports_of(tmp_path, "bert", "classification")[:3]
    rows = [{"text": text, "export": exports[0].name} for text in TEXTS[:4]]  # a batch has four
    rows += [{"text": text, "export": exports[1].name} for text in TEXTS[:3]]
    several, asked = Predictor.load(*exports), []
    run = several._run

    def recording(mixture: Mixture, **inputs: Any) -> Any:
        asked.append((mixture.models, len(inputs["input_ids"])))
        return run(mixture=mixture, **inputs)

    several._run = recording
    several.predict(rows)
    assert sorted(asked) == [((0,), 4), ((1,), 3)]


def test_two_ranks_answer_as_one(tmp_path: Path) -> None:
    exports = exports_of(tmp_path, "bert", "classification")[:3]
    rows = named(exports, "classification")
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(rows))
    worker = ranks.worker(Path(__file__).with_name("reading_worker.py"), file, *exports)
    ended = ranks.run(2, *worker).must_succeed()
    printed = [line for line in ended.outputs[0].splitlines() if line.startswith("[{")]
    close(json.loads(printed[0]), Predictor.load(*exports).predict(rows))


def test_rows_must_name_one_of_several_exports(tmp_path: Path) -> None:
    exports = exports_of(tmp_path, "bert", "classification")[:2]
    several = Predictor.load(*exports)
    with pytest.raises(UserError, match=r"row 2, column 'export': is missing.*short, long"):
        several.predict([{"text": "w1", "export": "long"}, {"text": "w2"}])
    with pytest.raises(UserError, match=r"found 'lang'.*Did you mean"):
        several.predict([{"text": "w1", "export": "lang"}])
    with pytest.raises(UserError, match=r"row 1.*text"):
        several.predict([{"export": "long"}])
    # One that is named answers all, whatever rows say.
    (found,) = several.predict([{"text": "w1", "export": "nobody"}], "long")
    close(found, Predictor.load(exports[1]).predict([{"text": "w1"}])[0])


def test_texts_and_classes_are_asked_apart(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    recipe = write_text_recipe(tmp_path / "text", "llama")
    texts = export_untrained(recipe, tmp_path / "writer")
    content = yaml.safe_load(recipe.read_text())
    content["task"] = {
        "name": "classification", "path": content["task"]["path"], "text": "input",
        "label": "label", "labels": ["no", "yes"], "train": "x.jsonl", "validation": "x.jsonl",
    }  # fmt: skip
    (tmp_path / "text" / "classes.yaml").write_text(yaml.safe_dump(content))
    classes = export_untrained(tmp_path / "text" / "classes.yaml", tmp_path / "reader")
    rows = [{"input": "w1", "export": "writer"}, {"input": "w2", "export": "reader"}]
    several = Predictor.load(texts, classes)
    with pytest.raises(UserError, match="Ask for these rows apart"):
        several.predict(rows)
    assert several.predict(rows[:1]) == Predictor.load(texts).predict([{"input": "w1"}])
