"""The commands, as a user runs them: real processes, one small job, and what they must agree on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ranks
import torch
import yaml
from safetensors.torch import load_file, save_file
from tiny import WORDS, save_backbone, save_tokenizer, write_recipe
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from ptv2_scale import load_backbone, load_prompted
from ptv2_scale.cli import main, parse
from ptv2_scale.config import load_recipe
from ptv2_scale.export.card import read_card
from ptv2_scale.methods.prefix.files import read_flat_prefix
from ptv2_scale.methods.prefix.method import PrefixMethod
from ptv2_scale.model.setup import open_setup
from ptv2_scale.runtime.errors import UserError

LABELS = ["no", "yes", "perhaps"]
TEXT = "w3 w4 : w5"
LENGTH = 6
# One step that changes nothing: what a run then exports are its first values.
STILL = ("train.steps=1", "train.lr=1e-30")


@dataclass(frozen=True)
class Job:
    """A finished small run.

    Attributes:
        folder: with backbone, data and recipe.yaml.
        run: its run directory.
        printed: what the command said.
    """

    folder: Path
    run: Path
    printed: str

    @property
    def recipe(self) -> str:
        return str(self.folder / "recipe.yaml")


def command(*arguments: object, world: int = 1) -> str:
    """Run a command that must succeed on real ranks; what rank 0 printed."""
    return ranks.cli(world, *map(str, arguments)).must_succeed().outputs[0]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A GLM-4 with transformers' head; neither its batch nor its split divide by two ranks."""
    folder = tmp_path_factory.mktemp("job")
    recipe = write_recipe(
        folder,
        "glm",
        task={"head": "hf", "labels": LABELS},
        train={"steps": 6, "global_batch": 5, "micro_batch": 1},
        evaluate={"every": 3, "micro_batch": 3},
    )
    return Job(folder, folder / "run", command("train", recipe))


@pytest.fixture(scope="module")
def peft_folder(job: Job) -> Path:
    folder = job.folder / "peft"
    assert main(["export", str(job.run), str(folder), "--format", "peft"]) == 0
    return folder


@pytest.fixture(scope="module")
def from_peft(job: Job, peft_folder: Path) -> Path:
    """A run of two ranks whose prefix starts from the PEFT folder; its head is another one."""
    run = job.folder / "v1.0"  # a name that PyTorch allows for no module
    saved = ("prompt.init=saved", f"prompt.init_from={peft_folder}", "train.seed=5")
    batch = "train.global_batch=6"
    command("train", job.recipe, f"run={run}", *saved, *STILL, batch, world=2)
    return run


def prefix_of(folder: Path) -> Tensor:
    return load_file(folder / "prompt.safetensors")["prefix"]


def result_of(job: Job) -> dict[str, Any]:
    return dict(json.loads((job.run / "result.json").read_text()))


def test_a_run_leaves_what_it_says(job: Job) -> None:
    result = result_of(job)
    written = {path.name for path in job.run.iterdir()}
    assert {"recipe.yaml", "metrics.jsonl", "result.json", "export", "checkpoints"} <= written
    assert result["trained_parameters"] == LENGTH * 3 * 2 * 2 * 8 + 3 * 32
    assert result["trivial"] == pytest.approx(4 / 7)
    assert result["seconds"] > 0
    assert result["peak_memory_bytes"] > 2**20
    assert "head_only" not in result
    assert f"{result['metric']} {result['value']:.4f}" in job.printed
    assert f"ptv2-scale evaluate {job.run}" in job.printed
    assert f"labels: {', '.join(LABELS)}" in job.printed
    counts = Counter(row["label"] for row in read(job.folder / "data" / "train.jsonl"))
    listed = ", ".join(f"{label} {counts[label]}" for label in LABELS)
    assert f"{counts.total()} rows of {len(LABELS)} classes: {listed}" in job.printed


def test_evaluate_gives_the_metric_of_the_run(job: Job) -> None:
    lines = command("evaluate", job.run, world=2).splitlines()
    (found,) = [json.loads(line) for line in lines if line.startswith("{")]
    result = result_of(job)
    for key in ("split", "metric", "value", "trivial"):
        assert found[key] == result[key]


def test_evaluate_writes_json_alone_to_standard_output(job: Job) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ptv2_scale", "evaluate", str(job.run), "deepspeed=zero1"],
        env=ranks.environment(0, 1, ranks.free_port()),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["value"] == result_of(job)["value"]
    assert ("NO BETTER" in done.stderr) == (result_of(job)["value"] <= result_of(job)["trivial"])


@pytest.fixture(scope="module")
def rows(job: Job) -> list[dict[str, Any]]:
    """Rows to be labelled, long and short, with a column that is only passed through."""
    made = [
        {"text": " ".join(WORDS[n * 7 % 90 : n * 7 % 90 + 1 + n * 5 % 11]), "id": n}
        for n in range(10)
    ]
    (job.folder / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    return made


@pytest.fixture(scope="module")
def both(job: Job, from_peft: Path, rows: list[dict[str, Any]]) -> Path:
    """Predictions of two exports on one backbone."""
    output = job.folder / "both.jsonl"
    source = job.folder / "new.jsonl"
    command("predict", job.run, from_peft, "--input", source, "--output", output)
    return output


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_predict_keeps_rows_and_order(both: Path, rows: list[dict[str, Any]]) -> None:
    found = read(both)
    assert [{"text": row["text"], "id": row["id"]} for row in found] == rows
    for row in found:
        assert list(row["predictions"]) == ["run", "v1.0"]
        for made in row["predictions"].values():
            assert list(made["probabilities"]) == LABELS
            assert sum(made["probabilities"].values()) == pytest.approx(1, abs=1e-6)
            assert made["label"] == max(made["probabilities"], key=made["probabilities"].get)


def test_predictions_are_the_same_bits_on_two_ranks(job: Job, from_peft: Path, both: Path) -> None:
    output = job.folder / "on-two.jsonl"
    source = job.folder / "new.jsonl"
    command("predict", job.run, from_peft, "--input", source, "--output", output, world=2)
    assert output.read_bytes() == both.read_bytes()


def test_an_export_beside_another_is_as_it_is_alone(job: Job, from_peft: Path, both: Path) -> None:
    output = job.folder / "alone.jsonl"
    source = job.folder / "new.jsonl"
    command("predict", from_peft, "--input", source, "--output", output)
    expected = [{**row, "prediction": row["predictions"]["v1.0"]} for row in read(both)]
    for row in expected:
        del row["predictions"]
    assert read(output) == expected


@pytest.mark.parametrize(("name", "share"), [("run", False), ("v1.0", True)])
def test_load_prompted_gives_the_probabilities_of_predict(
    name: str, share: bool, job: Job, both: Path, rows: list[dict[str, Any]]
) -> None:
    backbone = load_backbone(str(job.folder / "backbone")) if share else None
    model = load_prompted(job.folder / name, backbone=backbone)
    assert isinstance(model, torch.nn.Module)
    assert (model.backbone is backbone) == share
    assert not any(parameter.requires_grad for parameter in model.parameters())
    tokenizer = AutoTokenizer.from_pretrained(job.folder / "backbone")
    labels = read_card(job.run).recipe["task"]["labels"]
    for row, found in zip(rows, read(both), strict=True):
        batch = tokenizer([f"text: {row['text']}"], return_tensors="pt")
        inputs = {key: batch[key] for key in ("input_ids", "attention_mask")}
        with torch.no_grad():
            probabilities = model(**inputs).logits.softmax(-1)[0].tolist()
        expected = found["predictions"][name]["probabilities"]
        assert dict(zip(labels, probabilities, strict=True)) == pytest.approx(expected, abs=1e-6)


@pytest.fixture(scope="module")
def other_backbone(job: Job) -> Path:
    """The same architecture and tokenizer, other weights."""
    other = save_backbone("glm", job.folder / "other", spread=None)
    save_tokenizer(other)
    return other


def test_load_prompted_refuses_another_backbone(job: Job, other_backbone: Path) -> None:
    with pytest.raises(UserError, match="was trained on another backbone"):
        load_prompted(job.run, backbone=other_backbone)
    with pytest.raises(UserError, match="was trained on another backbone"):
        load_prompted(job.run, backbone=load_backbone(str(other_backbone)))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("backbone.name={other}", "was trained on another backbone (fingerprint "),
        ("prompt.length=7", "the recipe has changed: prompt.length was 6 and is 7."),
    ],
)
def test_resume_refuses_another_run(
    change: str, message: str, job: Job, other_backbone: Path
) -> None:
    before = snapshot(job.run)
    change = change.format(other=other_backbone)
    ended = ranks.cli(1, "train", job.recipe, change, "--resume", "auto")
    assert ended.code == 2
    assert ended.outputs[0].count("ptv2-scale: ") == 1
    assert message in ended.outputs[0]
    assert "Traceback" not in ended.outputs[0]
    assert snapshot(job.run) == before


def test_a_prefix_starts_from_the_one_that_was_saved(job: Job, from_peft: Path) -> None:
    assert torch.equal(prefix_of(from_peft / "export"), prefix_of(job.run / "export"))
    head = [load_file(run / "export/prompt.safetensors") for run in (job.run, from_peft)]
    assert not torch.equal(head[0]["head.score.weight"], head[1]["head.score.weight"])


def test_a_saved_prefix_is_read_from_an_export_too(job: Job) -> None:
    setup = open_setup(load_recipe(Path(job.recipe)))
    assert isinstance(setup.method, PrefixMethod)
    shape = setup.method.shape
    assert torch.equal(read_flat_prefix(job.run / "export", shape), prefix_of(job.run / "export"))


def repeated_tokens(folder: Path) -> Tensor:
    tokens = AutoTokenizer.from_pretrained(folder / "backbone")(TEXT)["input_ids"]
    return torch.tensor([(tokens * LENGTH)[:LENGTH]])


def test_a_prefix_starts_from_a_text(job: Job) -> None:
    """Its keys and values are those that transformers caches for the text."""
    run = job.folder / "from-text"
    text = ("prompt.init=text", f"prompt.init_text={TEXT!r}")
    command("train", job.recipe, f"run={run}", *text, *STILL)
    model = AutoModel.from_pretrained(job.folder / "backbone").eval()
    with torch.no_grad():
        cache = model(repeated_tokens(job.folder), use_cache=True).past_key_values
    found = prefix_of(run / "export").view(LENGTH, 3, 2, 2, 8)
    for layer in range(3):
        for kind, expected in enumerate((cache.layers[layer].keys, cache.layers[layer].values)):
            ours = found[:, layer, kind].transpose(0, 1)  # [heads, length, width]
            torch.testing.assert_close(ours, expected[0], rtol=0, atol=1e-5)


def test_all_slots_of_t5_start_from_a_text(tmp_path: Path) -> None:
    text = {"init": "text", "init_text": TEXT}
    recipe = write_recipe(tmp_path, "t5", prompt=text, train={"steps": 1, "lr": 1e-30})
    command("train", recipe)
    model = AutoModel.from_pretrained(tmp_path / "backbone").eval()
    encoder: list[dict[str, Tensor]] = [{} for _ in range(3)]
    for layer, made in enumerate(encoder):
        attention = model.encoder.block[layer].layer[0].SelfAttention
        for name in ("k", "v"):
            projection = getattr(attention, name)
            projection.register_forward_hook(
                lambda _, __, output, made=made, name=name: made.update({name: output})
            )
    tokens = repeated_tokens(tmp_path)
    with torch.no_grad():
        cache = model(input_ids=tokens, decoder_input_ids=tokens, use_cache=True).past_key_values
    decoder, cross = cache.self_attention_cache, cache.cross_attention_cache
    expected = [(made["k"][0], made["v"][0]) for made in encoder]  # [length, heads * width]
    for part in (decoder, cross):
        for layer in part.layers:
            pair = (layer.keys[0], layer.values[0])
            expected.append(tuple(x.transpose(0, 1).reshape(LENGTH, -1) for x in pair))
    flat = torch.cat([x for pair in expected for x in pair], dim=1)
    torch.testing.assert_close(prefix_of(tmp_path / "run/export"), flat, rtol=0, atol=1e-5)


# Export, inspect and schema start no ranks, so they run in this process.


def not_finished(job: Job, folder: Path) -> Path:
    """The run as a kill would have left it."""
    hidden = shutil.ignore_patterns("export", "result.json")
    shutil.copytree(job.run, folder, ignore=hidden)
    return folder


def test_export_of_an_unfinished_run(job: Job, tmp_path: Path, capsys: Any) -> None:
    run, target = not_finished(job, tmp_path / "run"), tmp_path / "out"
    assert main(["evaluate", str(run)]) == 2
    assert f"ptv2-scale export {run} OUT" in capsys.readouterr().err
    assert main(["export", str(run), str(target)]) == 0
    same = "prompt.safetensors"
    assert (target / same).read_bytes() == (job.run / "export" / same).read_bytes()
    card = json.loads((target / "card.json").read_text())
    assert card == {**json.loads((job.run / "export/card.json").read_text()), "result": {}}


def test_export_takes_the_newest_where_the_best_is_damaged(
    job: Job, tmp_path: Path, caplog: Any
) -> None:
    run = not_finished(job, tmp_path / "run")
    state = json.loads((run / "checkpoints/step-00000006/trainer.json").read_text())
    best = run / f"checkpoints/step-{state['best']['step']:08d}"
    (best / "manifest.json").unlink()
    other = 9 - state["best"]["step"]
    assert main(["export", str(run), str(tmp_path / "out")]) == 0
    assert (f"step-{other:08d}" in caplog.text) == (best.name in caplog.text)
    assert prefix_of(tmp_path / "out").shape == (LENGTH, 3 * 2 * 16)


def test_an_export_can_be_exported_again(job: Job, tmp_path: Path) -> None:
    assert main(["export", str(job.run / "export"), str(tmp_path / "out")]) == 0
    for path in (job.run / "export").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("arguments", [(), ("--format", "peft")])
def test_export_does_not_overwrite(
    arguments: tuple[str, ...], job: Job, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "mine").write_text("precious")
    assert main(["export", str(job.run), str(tmp_path), *arguments]) == 2
    assert "exists already, and nothing is overwritten" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_predict_does_not_overwrite(job: Job, rows: Any, tmp_path: Path, capsys: Any) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("precious")
    source = str(job.folder / "new.jsonl")
    assert main(["predict", str(job.run), "--input", source, "--output", str(output)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert output.read_text() == "precious"


def test_a_damaged_export_is_told_from_a_wrong_one(job: Job, tmp_path: Path) -> None:
    shutil.copytree(job.run / "export", tmp_path / "export")
    path = tmp_path / "export/prompt.safetensors"
    tensors = load_file(path)
    save_file({"prefix": tensors["prefix"]}, path)
    with pytest.raises(UserError, match=r"head.score.weight is missing, expected \[3, 32\]"):
        load_prompted(tmp_path / "export")
    save_file({**tensors, "prefix": tensors["prefix"][:3].contiguous()}, path)
    with pytest.raises(UserError, match=r"is \[3, 96\], expected \[6, 96\]"):
        load_prompted(tmp_path / "export")
    path.write_bytes(b"cut")
    with pytest.raises(UserError, match="not a readable safetensors file"):
        load_prompted(tmp_path / "export")
    (tmp_path / "export/card.json").write_text("{}")
    with pytest.raises(UserError, match="not a readable card"):
        load_prompted(tmp_path / "export")


def test_schema_accepts_a_recipe_and_refuses_a_wrong_key(job: Job, capsys: Any) -> None:
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    recipe = yaml.safe_load((job.folder / "recipe.yaml").read_text())
    jsonschema.validate(recipe, schema)
    recipe["train"]["lrr"] = 1
    with pytest.raises(jsonschema.ValidationError, match="lrr"):
        jsonschema.validate(recipe, schema)


def test_the_resolved_recipe_of_a_run_is_a_recipe(job: Job, capsys: Any) -> None:
    assert main(["inspect", str(job.run / "recipe.yaml")]) == 0
    first = capsys.readouterr().out
    assert main(["inspect", job.recipe]) == 0
    assert first == capsys.readouterr().out


def test_overrides_may_stand_behind_options() -> None:
    both = parse(["train", "demo", "a=1", "--resume", "auto", "b=2", "c=-3"])
    assert (both.overrides, both.resume) == (["a=1", "b=2", "c=-3"], "auto")
    with pytest.raises(SystemExit):
        parse(["train", "demo", "--resume", "auto", "--steps=3"])
    with pytest.raises(SystemExit):
        parse(["schema", "b=2"])
