"""PEFT reads what we export, and we read what PEFT trains: the same logits either way."""

from __future__ import annotations

import json
import re
import warnings
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import CartridgeConfig, PeftModel, PrefixTuningConfig, get_peft_model
from peft_folders import check_peft
from safetensors.torch import load_file
from tiny import batch_of, write_recipe
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from ptv2_scale import Predictor, load_prompted
from ptv2_scale.backbones.load import Unsharded, materialise
from ptv2_scale.backbones.tensor_files import NamedTensors
from ptv2_scale.config import load_recipe
from ptv2_scale.export.card import Card
from ptv2_scale.export.native import write_export
from ptv2_scale.export.peft import export_peft
from ptv2_scale.methods.prefix.files import read_flat_prefix
from ptv2_scale.methods.prefix.method import PrefixMethod
from ptv2_scale.model.setup import Setup, build_model, first_values, model_filler, open_setup
from ptv2_scale.runtime.errors import UserError

LENGTH = 6
CB = ["entailment", "contradiction", "neutral"]
LABELS = ["no", "yes", "perhaps"]
PEFT_KINDS = ("bert", "roberta", "glm", "llama", "gemma2", "gemma3_text", "mistral")
# Windows with just the room for prefix and text that PEFT needs.
WIDE = {kind: {"sliding_window": LENGTH + 20} for kind in ("gemma2", "gemma3_text", "mistral")}


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A job of every architecture, with the head of transformers."""
    task = {"head": "hf", "labels": LABELS}
    return {
        kind: write_recipe(
            tmp_path_factory.mktemp(kind), kind, task=task, backbone_config=WIDE.get(kind, {})
        )
        for kind in PEFT_KINDS
    }


def setup_of(recipe: Path, *overrides: str) -> Setup:
    return open_setup(load_recipe(recipe, overrides))


def write(setup: Setup, folder: Path) -> Path:
    """An export whose prefix and head are wide random numbers, so that mistakes show."""
    generator = torch.Generator().manual_seed(1)
    values = {
        name: torch.randn(value.shape, generator=generator)
        for name, value in first_values(setup).items()
    }
    write_export(folder, Card.of(setup, {}), NamedTensors(values))
    return folder


def logits_of(model: Any, batch: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        return model(**batch).logits


def classifier(folder: Path) -> Any:
    """The backbone with a new head, as a user of PEFT loads it."""
    torch.manual_seed(4)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(LABELS))
    return model.eval()


@pytest.mark.parametrize(
    ("kind", "encoder"), [("glm", "mlp"), *((kind, "table") for kind in PEFT_KINDS)]
)
def test_peft_loads_the_export_and_gives_the_same_logits(
    kind: str, encoder: str, recipes: dict[str, Path], tmp_path: Path
) -> None:
    setup = setup_of(recipes[kind], f"prompt.encoder={encoder}")
    export = write(setup, tmp_path / "ours")
    export_peft(export, tmp_path / "peft")
    theirs = PeftModel.from_pretrained(classifier(setup.files.folder), tmp_path / "peft").eval()
    batch = batch_of("right")
    batch["input_ids"][batch["attention_mask"] == 0] = setup.padding.token
    ours = logits_of(load_prompted(export), batch)
    assert ours.shape == (3, len(LABELS))
    torch.testing.assert_close(logits_of(theirs, batch), ours, rtol=0, atol=1e-5)
    assert float(ours.abs().max()) > 0.1


def test_the_peft_folder_is_what_older_versions_read(
    recipes: dict[str, Path], tmp_path: Path
) -> None:
    setup = setup_of(recipes["llama"])
    export_peft(write(setup, tmp_path / "ours"), tmp_path / "peft")
    config = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    assert not {"init_weights", "peft_version"} & config.keys()
    assert config["prefix_projection"] is False
    assert config["token_dim"] == 2 * 8  # key/value heads, fewer than the query heads
    tensors = load_file(tmp_path / "peft" / "adapter_model.safetensors")
    assert {name: list(value.shape) for name, value in tensors.items()} == {
        "prompt_embeddings": [LENGTH, 3 * 2 * 16],
        "base_model.score.weight": [3, 32],
    }


def test_frozen_tokens_make_a_cartridge(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # PEFT warns of keys that it does not know
        theirs = check_peft(tmp_path, "llama", {"length": LENGTH, "frozen_tokens": 2})
    assert theirs.active_peft_config.peft_type == "CARTRIDGE"
    encoder = theirs.prompt_encoder["default"]
    assert encoder.frozen_embedding.shape[0] == 2
    assert encoder.trainable_embedding.shape[0] == LENGTH - 2


def python_of(readme: Path) -> str:
    (example,) = re.findall(r"^```python\n(.*?)^```", readme.read_text(), re.DOTALL | re.MULTILINE)
    return str(example)


PAIRS = [
    {"text": "w1 w2 w3", "more": "w4 w5"},
    {"text": "w6", "more": "w7 w8 w9 w10 w11 w12"},
]


@pytest.mark.parametrize("kind", PEFT_KINDS)
def test_the_readmes_of_both_folders_give_the_answers_of_predict(
    kind: str, recipes: dict[str, Path], tmp_path: Path
) -> None:
    """Pairs of texts, as the README of each folder tells to use it, against `Predictor`."""
    recipe = recipes[kind]
    setup = setup_of(recipe, "task.text_pair=more")
    setup = replace(setup, tokenizer=with_token_types(setup.tokenizer))
    setup.tokenizer.save_pretrained(tmp_path / "tokenizer")
    setup = setup_of(recipe, "task.text_pair=more", f"backbone.tokenizer={tmp_path}/tokenizer")
    ours = write(setup, tmp_path / "ours")
    export_peft(ours, tmp_path / "peft")
    expected = Predictor.load(ours).predict(PAIRS)

    found: dict[str, Any] = {"FOLDER": str(ours), "ROWS": PAIRS}
    exec(python_of(ours / "README.md"), found)  # noqa: S102 - the reader would run it
    for record, probabilities in zip(expected, found["outputs"].softmax(-1).tolist(), strict=True):
        named = dict(zip(LABELS, probabilities, strict=True))
        assert named == pytest.approx(record["probabilities"], abs=1e-5)

    found = {"FOLDER": str(tmp_path / "peft"), "ROWS": PAIRS}
    exec(python_of(tmp_path / "peft" / "README.md"), found)  # noqa: S102 - as above
    assert found["answers"] == [record["label"] for record in expected]
    for record, logits in zip(expected, found["logits"], strict=True):
        named = dict(zip(LABELS, logits.softmax(-1).tolist(), strict=True))
        assert named == pytest.approx(record["probabilities"], abs=1e-5)
    assert found["model"].config.id2label == dict(enumerate(LABELS))


def with_token_types(tokenizer: Any) -> Any:
    """The tokenizer, telling two texts apart as BERT's does."""
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> $B:1 </s>:1",
        special_tokens=[(one, tokenizer.convert_tokens_to_ids(one)) for one in ("<s>", "</s>")],
    )
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return tokenizer


def test_labels_are_in_every_folder(recipes: dict[str, Path], tmp_path: Path) -> None:
    """Numbers in their order, and those of a published task, whose recipe names none."""
    numbers = [str(number) for number in range(12)]
    cases = {
        "own": (f"task.labels={json.dumps(numbers)}", numbers),
        "published": ("task={name: superglue/cb, head: hf}", CB),
    }
    for name, (change, labels) in cases.items():
        ours = write(setup_of(recipes["bert"], change), tmp_path / name)
        export_peft(ours, tmp_path / f"{name}-peft")
        config = json.loads((tmp_path / f"{name}-peft" / "adapter_config.json").read_text())
        named = config["auto_mapping"]
        assert named["id2label"] == {str(number): one for number, one in enumerate(labels)}
        assert named["label2id"] == {one: number for number, one in enumerate(labels)}
        for folder in (ours, tmp_path / f"{name}-peft"):
            assert f"labels: {', '.join(labels)}" in (folder / "README.md").read_text()
        base = AutoModelForSequenceClassification.from_pretrained(
            setup_of(recipes["bert"]).files.folder, num_labels=len(labels)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # PEFT warns of keys that it does not know
            PeftModel.from_pretrained(base, tmp_path / f"{name}-peft")


def test_pefts_folder_says_who_loads_it(recipes: dict[str, Path], tmp_path: Path) -> None:
    ours = write(setup_of(recipes["bert"]), tmp_path / "ours")
    export_peft(ours, tmp_path / "peft")
    with pytest.raises(UserError, match=r"is PEFT's folder, which PEFT loads; its README says how"):
        load_prompted(tmp_path / "peft")


CARTRIDGE = CartridgeConfig(task_type="SEQ_CLS", num_virtual_tokens=LENGTH, num_frozen_tokens=2)


def prefix_tuning(projection: bool) -> PrefixTuningConfig:
    return PrefixTuningConfig(
        task_type="SEQ_CLS",
        num_virtual_tokens=LENGTH,
        prefix_projection=projection,
        encoder_hidden_size=16,
    )


def train_with_peft(base: Any, config: Any, batch: dict[str, Tensor]) -> Any:
    """A few steps of PEFT's own prefix tuning, all tokens of the batch being visible."""
    model = get_peft_model(base, config).train()
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=0.05)
    for _ in range(3):
        model(**batch, labels=torch.tensor([0, 1, 2])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def prompted(setup: Setup, values: dict[str, Tensor]) -> Any:
    """Our model with these trained values, without an export in between."""
    model = build_model(setup)
    materialise(model, model_filler(setup, model, NamedTensors(values)), Unsharded())
    return model.eval()


def head_values(kind: str, adapter: dict[str, Tensor]) -> dict[str, Tensor]:
    """The head that PEFT saved beside the prefix, under the names of our head."""
    stem = "base_model.classifier." if kind == "roberta" else "base_model."
    return {
        "head." + name.removeprefix(stem): value
        for name, value in adapter.items()
        if name.startswith(stem)
    }


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        *(("llama", config) for config in (prefix_tuning(True), CARTRIDGE)),
        *((kind, prefix_tuning(False)) for kind in PEFT_KINDS),
    ],
)
def test_a_prefix_that_peft_trained_is_read_back(
    kind: str, config: Any, recipes: dict[str, Path], tmp_path: Path
) -> None:
    setup = setup_of(recipes[kind])
    batch = batch_of("right")
    batch["input_ids"][batch["attention_mask"] == 0] = setup.padding.token
    theirs = train_with_peft(classifier(setup.files.folder), deepcopy(config), batch)
    theirs.save_pretrained(tmp_path / "adapter")
    assert isinstance(setup.method, PrefixMethod)
    flat = read_flat_prefix(tmp_path / "adapter", setup.method.shape)
    assert torch.equal(flat, theirs.get_prompt_embedding_to_save("default"))
    adapter = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    values = {"prefix_encoder.embedding.weight": flat, **head_values(kind, adapter)}
    found = logits_of(prompted(setup, values), batch)
    torch.testing.assert_close(found, logits_of(theirs, batch), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["task.head=linear"], "its head is not transformers' own; train with task.head: hf"),
        (["prompt.layers=2-3"], "it prompts every layer, and this prefix is in layers 2-3 only"),
        (["prompt.positions=keep"], "it always shifts positions"),
        (["prompt={method: none}"], "it has nothing to express but a head"),
    ],
)
def test_what_peft_cannot_express_is_refused(
    overrides: list[str], reason: str, recipes: dict[str, Path], tmp_path: Path
) -> None:
    export = write(setup_of(recipes["bert"], *overrides), tmp_path / "ours")
    with pytest.raises(UserError) as caught:
        export_peft(export, tmp_path / "peft")
    assert reason in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours"]


def test_a_window_that_would_hide_the_prefix_is_refused(
    recipes: dict[str, Path], tmp_path: Path
) -> None:
    """The texts of `recipes` may have 20 tokens, for which there is just room."""
    export = write(setup_of(recipes["gemma2"], "task.max_length=21"), tmp_path / "ours")
    with pytest.raises(UserError, match=r"hides it from texts longer than 20 tokens, and .* is 21"):
        export_peft(export, tmp_path / "peft")


def test_every_layer_by_number_is_every_layer(recipes: dict[str, Path], tmp_path: Path) -> None:
    export = write(setup_of(recipes["bert"], "prompt.layers=1-3"), tmp_path / "ours")
    export_peft(export, tmp_path / "peft")
    assert (tmp_path / "peft" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("t5", "T5's encoder and cross-attention no prefix"),
        ("glm_classic", "transformers has no classic GLM"),
        ("deberta-v2", "takes no keys and values from outside"),
        ("electra", "classification head in transformers has no counterpart here"),
    ],
)
def test_families_that_peft_lacks_are_refused(kind: str, reason: str, tmp_path: Path) -> None:
    export = write(setup_of(write_recipe(tmp_path, kind)), tmp_path / "ours")
    with pytest.raises(UserError, match=reason):
        export_peft(export, tmp_path / "peft")
    assert not (tmp_path / "peft").exists()


def test_an_existing_folder_is_left_alone(recipes: dict[str, Path], tmp_path: Path) -> None:
    export = write(setup_of(recipes["bert"]), tmp_path / "ours")
    (tmp_path / "peft").mkdir()
    (tmp_path / "peft" / "mine").write_text("precious")
    with pytest.raises(UserError, match="exists already"):
        export_peft(export, tmp_path / "peft")
    assert [path.name for path in (tmp_path / "peft").iterdir()] == ["mine"]


TAGS = ["O", "B-A", "I-A"]
TAGGING = {"name": "tagging", "path": "/", "labels": TAGS, "max_length": 20, "overlap": 4}
TOKEN_KINDS = ("bert", "roberta", "gpt2", "llama", "mistral")


@pytest.mark.parametrize("kind", TOKEN_KINDS)
def test_tags_are_the_same_in_peft(kind: str, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, kind, backbone_config=WIDE.get(kind, {}))
    setup = setup_of(recipe, f"task={json.dumps(TAGGING)}")
    export = write(setup, tmp_path / "ours")
    export_peft(export, tmp_path / "peft")
    base = AutoModelForTokenClassification.from_pretrained(setup.files.folder, num_labels=3)
    theirs = PeftModel.from_pretrained(base.eval(), tmp_path / "peft").eval()
    batch = batch_of("right")
    batch["input_ids"][batch["attention_mask"] == 0] = setup.padding.token
    ours, expected = logits_of(load_prompted(export), batch), logits_of(theirs, batch)
    for row, size in enumerate((9, 6, 4)):
        torch.testing.assert_close(ours[row, :size], expected[row, :size], rtol=0, atol=1e-5)
    found: dict[str, Any] = {"FOLDER": str(tmp_path / "peft"), "ROWS": [{"tokens": ["w1", "w2"]}]}
    exec(python_of(tmp_path / "peft" / "README.md"), found)  # noqa: S102 - the reader would run it
    (record,) = Predictor.load(export).predict(found["ROWS"])
    assert found["answers"][0][1:-1] == record["tags"]


SPAN = {"name": "span", "path": "/", "max_length": 20, "stride": 4}
ASKED = {"question": "w3", "context": "w1 w2 w3 w4"}


@pytest.mark.parametrize("kind", ["bert", "llama", "mistral"])
def test_spans_are_the_same_in_peft(kind: str, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, kind, backbone_config=WIDE.get(kind, {}))
    setup = setup_of(recipe, f"task={json.dumps(SPAN)}")
    export = write(setup, tmp_path / "ours")
    export_peft(export, tmp_path / "peft")
    found: dict[str, Any] = {"FOLDER": str(tmp_path / "peft"), "ROWS": [ASKED]}
    exec(python_of(tmp_path / "peft" / "README.md"), found)  # noqa: S102 - the reader would run it
    ours = logits_of(load_prompted(export), setup.inputs([ASKED]))
    for place, theirs in enumerate(found["answers"][0]):
        torch.testing.assert_close(ours[..., place], theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("kind", "task"), [("opt", TAGGING), ("glm", SPAN)])
def test_what_transformers_has_no_model_for(kind: str, task: Any, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, kind)
    export = write(setup_of(recipe, f"task={json.dumps(task)}"), tmp_path / "ours")
    with pytest.raises(UserError, match="no .* model of transformers is known here for this kind"):
        export_peft(export, tmp_path / "peft")
