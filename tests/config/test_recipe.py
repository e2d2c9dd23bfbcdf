"""The models of a recipe: layers, dump and load, JSON schema."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptv2_scale.config import Prefix, RunConfig, dump_recipe, load_recipe
from ptv2_scale.config.schema import json_schema
from ptv2_scale.runtime.errors import UserError

SCHEMA = Path(__file__).parents[2] / "recipes" / "recipe.schema.json"

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
# Without what stands for something else in a path.
PATH = TEXT.filter(lambda text: not text.startswith("~") and "$" not in text)
COUNT = st.integers(1, 10**9)
SHARE = st.floats(0, 1, exclude_max=True)
ABOVE = st.floats(0, 1, exclude_min=True)


def section(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of these keys."""
    return st.fixed_dictionaries({}, optional=keys)


ANY_PREFIX = section(
    length=st.integers(1, 8192),
    layers=st.just("all")
    | st.tuples(st.integers(1, 9), st.integers(9, 99)).map(lambda ends: f"{ends[0]}-{ends[1]}")
    | st.lists(COUNT, min_size=1, unique=True),
    slots=st.just("all")
    | st.lists(st.sampled_from(["encoder", "decoder", "cross"]), min_size=1, unique=True),
    dropout=SHARE,
    positions=st.sampled_from(["shift", "keep"]),
)
FIRST_VALUES = st.one_of(
    section(init=st.just("random"), init_scale=ABOVE),
    st.just({"init": "zero"}),
    st.just({"encoder": "mlp", "hidden": 64}),
    st.builds(lambda text: {"init": "text", "init_text": text}, TEXT),
    st.builds(lambda path: {"init": "saved", "init_from": path}, PATH),
)
INPUT_PROMPT = st.one_of(
    st.builds(lambda text: {"init": "text", "init_text": text}, TEXT),
    section(init=st.just("vocabulary"), init_ids=COUNT),
    st.builds(lambda scale: {"init": "random", "init_scale": scale}, ABOVE),
)
PROMPT = st.one_of(
    st.sampled_from([{"method": "none"}, {"method": "full"}]),
    section(rank=st.integers(1, 99), alpha=ABOVE, rslora=st.booleans(), dropout=SHARE).map(
        lambda keys: {"method": "lora", **keys}
    ),
    st.builds(
        lambda encoder, hidden: {"method": "ptuning", "encoder": encoder, "hidden": hidden},
        st.sampled_from(["lstm", "mlp", "table"]),
        st.none() | st.integers(1, 999),
    ),
    st.builds(lambda a, b: {**a, **b}, ANY_PREFIX, FIRST_VALUES),
    INPUT_PROMPT.map(lambda keys: {"method": "prompt", "length": 5000, **keys}),
)
TASK = st.one_of(
    st.builds(
        lambda name, rest: {"name": name, **rest}, TEXT, section(path=PATH, max_length=COUNT)
    ),
    st.builds(
        lambda text, label, rest: {"name": "classification", "text": text, "label": label, **rest},
        TEXT,
        TEXT,
        section(text_pair=TEXT, labels=st.lists(TEXT, min_size=2), train=TEXT),
    ),
).filter(lambda task: task["name"] != "classification" or "text" in task)
TRAIN = st.builds(
    lambda *parts: {key: value for part in parts for key, value in part.items()},
    section(lr=ABOVE, betas=st.lists(SHARE, min_size=2, max_size=2), warmup=SHARE | COUNT),
    section(clip=st.none() | ABOVE, seed=st.integers(0, 2**32 - 1)),
    section(epochs=COUNT) | section(steps=COUNT),
    section(schedule=st.just("exponential"), decay=ABOVE).filter(
        lambda part: "schedule" in part or not part
    ),
)
RECIPE = st.fixed_dictionaries(
    {"backbone": st.builds(lambda name: {"name": name}, PATH), "task": TASK},
    optional={
        "prompt": PROMPT,
        "train": TRAIN,
        "evaluate": section(every=COUNT, patience=COUNT),
        "checkpoint": section(keep=st.integers(2, 9)),
        "deepspeed": PATH,
        "run": PATH,
        "trackers": st.lists(TEXT, unique=True),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RECIPE)
def test_a_dumped_recipe_is_loaded_as_it_was(tmp_path: Path, recipe: dict[str, Any]) -> None:
    config = RunConfig.model_validate(recipe)
    path = tmp_path / "dumped.yaml"
    path.write_text(dump_recipe(config), encoding="utf-8")
    again = load_recipe(path)
    assert again == config
    assert again.model_dump(mode="json") == config.model_dump(mode="json")
    assert (
        RunConfig.model_validate(json.loads(json.dumps(config.model_dump(mode="json")))) == config
    )


def test_a_dump_has_the_defaults_but_no_key_without_meaning() -> None:
    config = RunConfig.model_validate({"backbone": {"name": "a"}, "task": {"name": "demo"}})
    dumped = config.model_dump(mode="json")
    assert dumped["prompt"]["length"] == 20
    assert dumped["train"]["epochs"] == 10
    assert "hidden" not in dumped["prompt"]
    assert "init_text" not in dumped["prompt"]
    assert "decay" not in dumped["train"]
    table = Prefix(encoder="mlp", hidden=64).model_copy(update={"encoder": "table"})
    assert Prefix.model_validate(table.model_dump(mode="json")).encoder == "table"


@pytest.mark.parametrize(
    ("layers", "numbers"),
    [
        ("all", (0, 1, 2, 3)),
        ("1-4", (0, 1, 2, 3)),
        ("2-3", (1, 2)),
        ("4-4", (3,)),
        ([3, 1], (0, 2)),
    ],
)
def test_layers_are_counted_from_one_both_ends_included(
    layers: Any, numbers: tuple[int, ...]
) -> None:
    assert Prefix(layers=layers).layer_numbers(4) == numbers


@pytest.mark.parametrize("layers", ["1-5", "5-6", "1-999999", [1, 5]])
def test_layers_the_backbone_lacks(layers: Any) -> None:
    with pytest.raises(UserError, match=r"prompt\.layers: .*the backbone has 4 layers"):
        Prefix(layers=layers).layer_numbers(4)


def test_recipes_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Prefix().length = 3


def test_the_shipped_schema_is_that_of_the_models() -> None:
    assert json.loads(SCHEMA.read_text()) == json_schema(), (
        "write it anew: ptv2-scale schema > recipes/recipe.schema.json"
    )


@pytest.fixture(scope="module")
def validator() -> Any:
    return pytest.importorskip("jsonschema").Draft202012Validator(json_schema())


@given(RECIPE)
def test_the_schema_allows_what_the_models_allow(validator: Any, recipe: dict[str, Any]) -> None:
    assert list(validator.iter_errors(recipe)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"trian": {}},
        {"prompt": {"length": 0}},
        {"prompt": {"method": "none", "length": 3}},
        {"prompt": {"layers": "1 to 3"}},
        {"train": {"lr": 0}},
        {"train": {"betas": [0.9]}},
    ],
)
def test_the_schema_refuses_mistakes(validator: Any, wrong: dict[str, Any]) -> None:
    recipe = {"backbone": {"name": "a"}, "task": {"name": "demo"}}
    assert validator.is_valid(recipe)
    assert not validator.is_valid(recipe | wrong)


def test_every_key_is_described() -> None:
    schema = json_schema()
    for model in [schema, *schema["$defs"].values()]:
        for key, entry in model["properties"].items():
            assert entry.get("description") or "$ref" in entry, key


def test_config_does_not_load_torch() -> None:
    code = "import sys, ptv2_scale.config; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=SCHEMA.parents[1])
