"""Every recipe that is shipped: it loads, it fits its backbone, and its values are what it says."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from ranks import CHECKOUT
from recipe_files import write_roles
from tiny import save_backbone, save_tokenizer

from ptv2_scale.backbones.load import build_empty
from ptv2_scale.backbones.presets import open_shape
from ptv2_scale.config import TASKS as TASKS_OF_RECIPES
from ptv2_scale.config import Prefix, RunConfig, Tagging, load_recipe
from ptv2_scale.demo import RECIPE as DEMO
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.model.setup import build_model, open_shapes

RECIPES = CHECKOUT / "recipes"
PAPER = sorted((RECIPES / "paper").glob("*/*.yaml"))
TEXT = sorted((RECIPES / "llm").glob("*.yaml"))
OTHERS = sorted(RECIPES.glob("*.yaml"))
# What stands above the first heading of its own: the table.
TABLE = (RECIPES / "paper" / "README.md").read_text().partition("\n## ")[0]

# Numbers of a prefix token: layers x 2 x width of all heads, counted by slot of an encoder-decoder.
TOKEN = {
    "bert-large": 24 * 2 * 1024,
    "roberta-large": 24 * 2 * 1024,
    "deberta-xlarge": 48 * 2 * 1024,
    "glm-2b": 36 * 2 * 2048,
    "glm-10b": 48 * 2 * 4096,
    "t5-xl": 24 * 2 * 2048,
    "t5-11b": 24 * 2 * 16384,
}
TASKS = (
    *("boolq", "cb", "copa", "multirc", "record", "rte", "wic", "wsc", "sst2"),
    *("conll03", "conll04", "ontonotes", "conll05", "conll12", "squad1", "squad2"),
)
BY_TOKEN = TASKS[TASKS.index("conll03") :]
# Layers x 2 x width of all key/value heads.
TEXT_TOKEN = {
    "llama-3.1-8b": 32 * 2 * 8 * 128,
    "qwen3-8b": 36 * 2 * 8 * 128,
    "glm-4-9b": 40 * 2 * 2 * 128,
}
LARGE = ("glm-2b", "glm-10b", "t5-xl", "t5-11b")  # of 2 billion parameters and more


class Official(NamedTuple):
    """A line of the official scripts (github.com/THUDM/P-tuning-v2, run_script, commit b1520c9)."""

    backbone: str
    task: str
    script: str
    model: str
    lr: float
    length: int
    epochs: int
    batch: int
    dropout: float
    max_length: int
    seed: int


CASED, UNCASED = "google-bert/bert-large-cased", "google-bert/bert-large-uncased"
L, ROBERTA = "roberta-large", "FacebookAI/roberta-large"
OFFICIAL = [
    Official(*line)
    for line in (
        ("bert-large", "boolq", "boolq_bert", CASED, 5e-3, 40, 100, 32, 0.1, 128, 11),
        ("bert-large", "copa", "copa_bert", CASED, 1e-2, 16, 80, 16, 0.1, 128, 44),
        ("bert-large", "rte", "rte_bert", CASED, 1e-2, 20, 60, 32, 0.1, 128, 11),
        ("bert-large", "wic", "wic_bert", CASED, 1e-4, 20, 80, 16, 0.1, 128, 44),
        ("bert-large", "wsc", "wsc_bert", CASED, 5e-3, 20, 80, 16, 0.1, 128, 44),
        ("bert-large", "conll04", "conll04_bert", UNCASED, 2e-2, 128, 40, 32, 0.2, 128, 11),
        ("bert-large", "ontonotes", "ontonotes_bert", UNCASED, 1e-2, 16, 30, 16, 0.1, 128, 11),
        (L, "boolq", "boolq_roberta", ROBERTA, 7e-3, 8, 100, 32, 0.1, 128, 11),
        (L, "copa", "copa_roberta", ROBERTA, 9e-3, 8, 120, 16, 0.1, 128, 11),
        (L, "rte", "rte_roberta", ROBERTA, 5e-3, 128, 100, 32, 0.1, 128, 11),
        (L, "wic", "wic_roberta", ROBERTA, 1e-2, 8, 50, 32, 0.1, 128, 11),
        (L, "wsc", "wsc_roberta", ROBERTA, 1e-2, 8, 10, 16, 0.1, 128, 44),
        (L, "conll03", "conll03_roberta", ROBERTA, 3e-2, 11, 30, 16, 0.1, 152, 11),
        (L, "conll04", "conll04_roberta", ROBERTA, 6e-2, 144, 80, 32, 0.1, 128, 11),
        (L, "ontonotes", "ontonotes_roberta", ROBERTA, 7e-3, 48, 60, 16, 0.1, 128, 14),
        (L, "conll05", "conll05_roberta", ROBERTA, 6e-3, 224, 15, 16, 0.1, 128, 11),
        (L, "conll12", "conll12_roberta", ROBERTA, 5e-3, 64, 45, 32, 0.1, 128, 11),
        (L, "squad1", "squad_roberta", ROBERTA, 5e-3, 16, 30, 8, 0.2, 384, 11),
        (L, "squad2", "squad_v2_roberta", ROBERTA, 5e-3, 8, 10, 8, 0.2, 384, 11),
    )
]  # fmt: skip
WITH_OFFICIAL = {(one.backbone, one.task): one for one in OFFICIAL}


def place(path: Path) -> tuple[str, str]:
    """Backbone and task, by the folder and the name of the file."""
    return path.parent.name, path.stem


def prefix(config: RunConfig) -> Prefix:
    assert isinstance(config.prompt, Prefix)
    return config.prompt


@cache
def recipe(path: Path) -> RunConfig:
    return load_recipe(path, [])


@cache
def backbone(name: str) -> Any:
    return build_empty(open_shape(name), torch.bfloat16)


@pytest.fixture(scope="module")
def roles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of semantic roles, from which their labels are."""
    folder = tmp_path_factory.mktemp("roles")
    write_roles(folder)
    return folder


def test_there_is_one_for_every_backbone_and_task() -> None:
    assert [place(path) for path in PAPER] == sorted((b, t) for b in TOKEN for t in TASKS)


@pytest.mark.parametrize("path", PAPER, ids=lambda path: "-".join(place(path)))
def test_a_recipe_of_the_paper_fits_its_backbone(path: Path, roles: Path) -> None:
    (name, task), config = place(path), recipe(path)
    if isinstance(config.task, Tagging) and config.task.name.startswith("srl/"):
        section = config.task.model_copy(update={"path": str(roles)})
        config = config.model_copy(update={"task": section})
    model = build_model(open_shapes(config), backbone(config.backbone.name))
    slots = 3 if name.startswith("t5") and task not in BY_TOKEN else 1
    row, length = slots * TOKEN[name], prefix(config).length
    mlp = length * 1024 + 1024 * 512 + 512 + 512 * row + row
    assert adapter_size(model) == (mlp if prefix(config).encoder == "mlp" else length * row)


def adapter_size(model: PromptedModel) -> int:
    assert model.adapter is not None
    return sum(one.numel() for one in model.adapter.parameters())


@pytest.mark.parametrize("official", OFFICIAL, ids=lambda one: f"{one.backbone}-{one.task}")
def test_official_values(official: Official) -> None:
    path = RECIPES / "paper" / official.backbone / f"{official.task}.yaml"
    config = recipe(path)
    train, prompt = config.train, prefix(config)
    assert official == Official(
        official.backbone, official.task, official.script, config.backbone.name, train.lr,
        prompt.length, train.epochs or 0, train.global_batch, prompt.dropout, config.task.longest,
        train.seed,
    )  # fmt: skip
    assert (prompt.encoder, prompt.hidden) == (
        ("mlp", 512) if official.script == "wic_bert" else ("table", 512)
    )
    named = f"# Official values: THUDM/P-tuning-v2, run_script/run_{official.script}.sh.\n"
    assert named in path.read_text()


@pytest.mark.parametrize("path", PAPER, ids=lambda path: "-".join(place(path)))
def test_a_recipe_says_whose_values_it_has(path: Path) -> None:
    """The file, and its cell of the table in the README."""
    (name, task), official = place(path), place(path) in WITH_OFFICIAL
    lines = path.read_text().splitlines()
    assert lines[1].startswith("# Official values: " if official else "# Starting values: ")
    header, row = (table_row(key) for key in ("task", f"`{task}`"))
    assert row[header.index(f"`{name}`")] == ("**official**" if official else "starting")


def table_row(first: str) -> list[str]:
    (found,) = re.findall(rf"^\| {re.escape(first)} \|.*$", TABLE, flags=re.MULTILINE)
    return [cell.strip() for cell in found.split("|")]


@pytest.mark.parametrize("path", PAPER, ids=lambda path: "-".join(place(path)))
def test_what_a_recipe_asks_of_hardware(path: Path) -> None:
    (name, task), config = place(path), recipe(path)
    train = config.train
    assert all(train.global_batch % (train.micro_batch * ranks) == 0 for ranks in (1, 2, 4, 8))
    assert config.deepspeed == ("zero3" if name in LARGE else "zero1")
    assert train.gradient_checkpointing or name in ("bert-large", L)
    assert train.schedule == ("exponential" if task in BY_TOKEN else "linear")
    assert train.decay == 0.95
    # Nothing of one backbone's run is another's.
    assert config.run == f"runs/paper/{name}/{task}"


def test_every_recipe_is_tested() -> None:
    sweeps = set((RECIPES / "sweeps").glob("*.yaml"))  # tests/sweep/test_config.py expands them
    own = set((RECIPES / "own").glob("*.yaml"))  # tests/engine/test_recipe_runs.py trains them
    assert {*PAPER, *TEXT, *OTHERS} == {*RECIPES.rglob("*.yaml")} - sweeps - own
    assert sorted(path.stem for path in TEXT) == sorted(TEXT_TOKEN)


def test_every_task_has_a_recipe() -> None:
    """By the name that a recipe has, or that its first lines say to give instead."""
    paths = [path for path in RECIPES.rglob("*.yaml") if path.parent.name != "sweeps"]
    demos = {"demo-tags"}  # `sweep demo` sets it in the demo's recipe
    named = demos | {recipe(path).task.name for path in (*paths, DEMO)}
    instead = (
        re.findall(r"^#.* task\.name=(\S+)", path.read_text(), re.MULTILINE) for path in paths
    )
    assert named | {name for names in instead for name in names} == {
        name for model in TASKS_OF_RECIPES.models() for name in model.NAMES
    }


@pytest.mark.parametrize("path", TEXT, ids=lambda path: path.name)
def test_a_recipe_of_texts_fits_its_backbone(path: Path) -> None:
    config = recipe(path)
    train, shapes = config.train, open_shapes(config)
    model = build_model(shapes, backbone(config.backbone.name))
    assert adapter_size(model) == prefix(config).length * TEXT_TOKEN[path.stem]
    # The projection stands beside the backbone: nothing of these models is tied.
    (projection,) = model.head.parameters()
    assert tuple(projection.shape) == (shapes.files.config.vocab_size, 4096)
    assert all(train.global_batch % (train.micro_batch * ranks) == 0 for ranks in (1, 2, 4, 8))
    assert (config.deepspeed, config.run) == ("zero3", f"runs/llm/{path.stem}")


@pytest.fixture(scope="module")
def small_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands for the small pretrained BERT, with as many positions."""
    folder = tmp_path_factory.mktemp("bert")
    save_backbone("bert", folder, max_position_embeddings=512)
    save_tokenizer(folder)
    return folder


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.name)
def test_the_other_recipes_fit_a_bert(path: Path, small_bert: Path) -> None:
    config = load_recipe(path, [f"backbone.name={small_bert}", "task.path=."])
    model = build_model(open_shapes(config))
    assert adapter_size(model) == prefix(config).length * 3 * 2 * 32
