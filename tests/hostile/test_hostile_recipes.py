"""Recipes and overrides of strangers: a recipe comes of it, or one message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from arena import Arena
from hypothesis import given
from hypothesis import strategies as st
from strategies import attacks, damaged, junk, mutated, trials

from ptv2_scale.config import dump_recipe, load_recipe
from ptv2_scale.data.dealing import accumulation
from ptv2_scale.data.order import epoch_batches

VALID: dict[str, Any] = {
    "backbone": {"name": "demo", "dtype": "fp32", "dropout": 0.1, "weights": "any"},
    "prompt": {"length": 6, "encoder": "mlp", "hidden": 8, "layers": [1, 2], "dropout": 0.0},
    "task": {
        "name": "classification", "path": "data", "text": "text", "label": "label",
        "train": "train.jsonl", "validation": "validation.jsonl", "labels": ["a", "b"],
    },
    "train": {"steps": 2, "global_batch": 4, "micro_batch": 2, "lr": 0.01, "betas": [0.9, 0.99]},
    "evaluate": {"every": 1},
    "checkpoint": {"keep": 2},
    "deepspeed": "zero1",
    "run": "run",
    "trackers": [],
}  # fmt: skip

HARMFUL_YAML = [
    "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a]\nc: [*b, *b, *b]\n",
    "backbone: &x {name: *x}\n",
    "<<: {backbone: {name: demo}}\n",
    "task: !!python/object/apply:os.system ['touch canary']\n",
    "task: !!python/object/new:subprocess.Popen [['touch', 'canary']]\n",
    "task: !!binary aGVsbG8=\n",
    "run: !<tag:yaml.org,2002:python/name:os.system> ''\n",
    "a: " + "[" * 5000,
    "a: " + "{a: " * 5000,
    "- " * 5000 + "x",
    "? " * 5000 + "x",
    "train: {steps: 1" + "0" * 5000 + "}\n",
    "train: {lr: 1e999999999}\n",
    "train: {lr: 0x7fffffffffffffffffff}\n",
    "train: {lr: 1_000_000}\n",
    "train: {steps: 1, steps: 2, steps: 3}\n",
    "x" * (1 << 20),
    "a: |\n" + "  x\n" * 100_000,
    "key: " + "'" + "y" * 500_000 + "'\n",
    ("x" * 1000 + ": 1\n") * 900,
    "".join(f"k{number}: 1\n" for number in range(20_000)),
    "%YAML 9999999999.1\n---\na: 1\n",
    "--- a\n--- b\n--- c\n",
    '"\\UFFFFFFFF": 1\n',
    "\x85\u2028: 1\n",
    "run: '\x1b[31m'\n",
    "\ufeffrun: x\n",
]


def recipes(canary: str) -> st.SearchStrategy[bytes]:
    dumped = mutated(VALID, canary, most=4).map(_careless)
    harmful = st.sampled_from([text.encode() for text in HARMFUL_YAML])
    return st.one_of(dumped, dumped, damaged(yaml.safe_dump(VALID).encode()), harmful)


def _careless(value: Any) -> bytes:
    text = json.dumps(value) if isinstance(value, dict) else yaml.safe_dump(str(value))
    return text.encode()


@trials(3)
@given(data=st.data())
def test_recipes(arena: Arena, data: st.DataObject) -> None:
    content = data.draw(recipes(str(arena.canary)))
    path = arena.inside / "x.yaml"
    path.write_bytes(content)
    arena.attempt("recipe", lambda: _use(path, []))


KEYS = [
    f"{section}.{key}"
    for section, keys in VALID.items()
    if isinstance(keys, dict)
    for key in [*keys, "nokey"]
] + ["run", "deepspeed", "trackers", "prompt.init", "prompt.init_from", "", ".", "..a", "-x", "a.b"]


@trials()
@given(data=st.data())
def test_overrides(arena: Arena, data: st.DataObject) -> None:
    value = junk(str(arena.canary)).map(
        lambda value: value if isinstance(value, str) else str(value)
    )
    one = st.tuples(st.sampled_from(KEYS) | st.text(max_size=9), value).map("=".join)
    raw = st.sampled_from(attacks(str(arena.canary))) | st.sampled_from(HARMFUL_YAML)
    overrides = data.draw(st.lists(one | raw, min_size=1, max_size=4))
    path = arena.inside / "x.yaml"
    path.write_text(yaml.safe_dump(VALID))
    arena.attempt("override", lambda: _use(path, overrides))


def _use(path: Path, overrides: list[str]) -> None:
    """Read a recipe, and do with its numbers what a run does before it has any weights."""
    config = load_recipe(path, overrides)
    dump_recipe(config)
    train = config.train
    size = 1 if train.micro_batch == "auto" else train.micro_batch
    accumulation(train.global_batch, size, 2, train.micro_batch_by)
    epoch_batches([1, 2, 3], train.global_batch, train.seed, 0)


@trials(0.3)
@given(name=st.sampled_from(attacks("canary")) | st.text(max_size=20))
def test_paths_of_recipes(arena: Arena, name: str) -> None:
    arena.attempt("recipe path", lambda: load_recipe(Path(name)))


def test_the_recipe_itself_is_accepted(arena: Arena) -> None:
    path = arena.inside / "x.yaml"
    path.write_text(yaml.safe_dump(VALID))
    assert arena.attempt("control", lambda: _use(path, [])) is None
