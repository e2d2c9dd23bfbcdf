"""Recipes from files and overrides, and every mistake that can be made in them."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptv2_scale.cli import main
from ptv2_scale.config import (
    Classification,
    HeadOnly,
    Prefix,
    RunConfig,
    dump_recipe,
    load_recipe,
    override,
)
from ptv2_scale.config.recipe import Backbone
from ptv2_scale.runtime.errors import UserError

LEAST = "backbone: {name: t5-base}\ntask: {name: superglue/rte}\n"
PYDANTIC = re.compile(
    r"pydantic|input should|field required|extra inputs|valid (string|integer)", re.I
)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return tmp_path / "x.yaml"


def message(recipe: Path, text: str, *overrides: str) -> str:
    """What is said about a recipe, the file's folder left out."""
    recipe.write_text(text)
    with pytest.raises(UserError) as caught:
        load_recipe(recipe, overrides)
    found = str(caught.value)
    assert not PYDANTIC.search(found)
    return found.replace(f"{recipe.parent}/", "")


def test_the_least_recipe_gets_the_defaults(recipe: Path) -> None:
    recipe.write_text(LEAST)
    config = load_recipe(recipe, [])
    assert config.backbone.name == "t5-base"
    assert isinstance(config.prompt, Prefix)
    assert (config.prompt.length, config.prompt.hidden) == (20, 512)
    assert (config.train.epochs, config.train.steps) == (10, None)
    assert (config.deepspeed, config.run, config.trackers) == ("auto", None, [])


def test_all_problems_are_shown_at_once_in_the_order_of_the_file(recipe: Path) -> None:
    found = message(
        recipe,
        "prompt:\n  lenght: 5\ntask: {name: superglue/rte}\nbackbone: {name: t5-base}\n"
        "train:\n  epochs: 3\n  lr: fast\n  steps: 7\n",
        "evaluate.every=0",
    )
    unknown, clash, wrong, overridden = found.splitlines()
    assert unknown.startswith(
        "x.yaml:2: prompt.lenght: unknown key. Did you mean 'length'? Allowed: method, length, enc"
    )
    assert clash.startswith(
        "x.yaml:6 and :8: train.epochs and train.steps contradict each other: keep one."
    )
    assert wrong == "x.yaml:7: train.lr: found 'fast' (str), expected a number above 0."
    assert overridden == (
        "override 'evaluate.every=0': evaluate.every: found 0 (int), expected a whole number from 1"
        " or null."
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("lr: 1", "lr: unknown key. Did you mean 'train.lr'?"),
        (
            "micro_batch: 1",
            "micro_batch: unknown key. Did you mean 'train.micro_batch' or 'evaluate.micro_batch'?",
        ),
        ("deepsped: zero2", "deepsped: unknown key. Did you mean 'deepspeed'?"),
        ("run: 7", "run: found 7 (int), expected non-empty text or null. Put it in quotes"),
        ("run: ''", "run: found '' (str), expected non-empty text or null."),
        ('run: "a\\0"', "run: found 'a\\x00' (str), expected non-empty text or null. Take the NUL"),
        ("run: [a]", "run: found a list, ['a'], expected non-empty text or null."),
        ("prompt: 5", "prompt: found 5 (int), expected a section of keys."),
        ("train: [1]", "train: found a list, [1], expected a section of keys."),
        (
            "prompt: {method: prefx}",
            "prompt.method: found 'prefx' (str), expected 'prefix', ",
        ),
        (
            "prompt: {length: 8193}",
            "prompt.length: found 8193 (int), expected a whole number from 1 to 8192.",
        ),
        ("prompt: {length: 2.0}", "prompt.length: found 2.0 (float), expected a whole number from"),
        ("prompt: {length: null}", "prompt.length: found nothing (null), expected a whole number"),
        ("prompt: {length: {a: 1}}", "prompt.length: found a section, expected a whole number"),
        (
            "prompt: {dropout: 1}",
            "prompt.dropout: found 1 (int), expected a number from 0 to below 1.",
        ),
        (
            "prompt: {layers: 12-1}",
            "prompt.layers: found '12-1' (str), but a range goes up; write '1-12'.",
        ),
        (
            "prompt: {layers: 0-3}",
            "prompt.layers: found '0-3' (str), expected 'all', text such as '1-12' or a list of 1"
            " or more (a whole number from 1).",
        ),
        (
            "prompt: {layers: [1, 0]}",
            "prompt.layers, item 2: found 0 (int), expected a whole number from 1.",
        ),
        ("prompt: {layers: []}", "prompt.layers: found a list, [], expected 'all', text"),
        ("prompt: {layers: [3, 3]}", "prompt.layers: found a list, [3, 3], but 3 is named 2 times"),
        (
            "prompt: {slots: [decodr]}",
            "prompt.slots, item 1: found 'decodr' (str), expected 'encoder', 'decoder' or 'cross'."
            " Did you mean 'decoder'?",
        ),
        (
            "prompt: {slots: encoder}",
            "prompt.slots: found 'encoder' (str), expected 'all' or a list of 1 or more",
        ),
        ("train: {lr: .nan}", "train.lr: found nan (float), expected a number above 0."),
        ("train: {lr: 1e999}", "train.lr: found inf (float), expected a number above 0."),
        ("train: {lr: true}", "train.lr: found true (bool), expected a number above 0."),
        ("train: {seed: '7'}", "train.seed: found '7' (str), expected a whole number from 0 to 4"),
        ("train: {betas: [0.9]}", "train.betas, item 2: missing, expected a number from 0 to bel"),
        ("train: {betas: [0, 0, 0]}", "train.betas: found a list, [0, 0, 0], expected a list of 2"),
        (
            "train: {betas: [0.9, 2]}",
            "train.betas, item 2: found 2 (int), expected a number from 0 to below 1.",
        ),
        (
            "train: {warmup: 1.5}",
            "train.warmup: found 1.5 (float), expected a number from 0 to below 1 or a whole number"
            " from 1.",
        ),
        (
            "train: {gradient_checkpointing: yes}",
            "train.gradient_checkpointing: found 'yes' (str), expected 'auto', true or false or a"
            " whole number from 1.",
        ),
        (
            "checkpoint: {keep: 1}",
            "checkpoint.keep: found 1 (int), expected a whole number from 2.",
        ),
        ("trackers: tensorboard", "trackers: found 'tensorboard' (str), expected a list (non-empt"),
        ("trackers: [a, a]", "trackers: found a list, ['a', 'a'], but 'a' is named 2 times"),
        ("1: 2", "1: unknown key."),
        ('"\\e[31m": 2', "\\x1b[31m: unknown key."),
        ("<<: {run: x}", "<<: unknown key."),
    ],
)
def test_a_wrong_key_type_or_value(recipe: Path, line: str, said: str) -> None:
    found = message(recipe, f"{LEAST}{line}\n")
    assert found.startswith(f"x.yaml:3: {said}")
    assert "\n" not in found


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            "train:\n  epochs: 1\n  steps: 2",
            "x.yaml:4 and :5: train.epochs and train.steps contradict each other: keep one.",
        ),
        (
            "train:\n  decay: 0.9\n  schedule: linear",
            "x.yaml:4 and :5: train.schedule and train.decay contradict each other: decay is for"
            " schedule: exponential only, and schedule is 'linear'. Remove decay, or set schedule:"
            " exponential.",
        ),
        (
            "prompt:\n  hidden: 512",
            "x.yaml:4: prompt.encoder and prompt.hidden contradict each other: hidden is for"
            " encoder: mlp only, and encoder is 'table' (the default).",
        ),
        (
            "prompt:\n  init: zero\n  init_scale: 0.1",
            "x.yaml:4 and :5: prompt.init and prompt.init_scale contradict each other",
        ),
        (
            "prompt:\n  init_text: hello",
            "x.yaml:4: prompt.init and prompt.init_text contradict each other",
        ),
        (
            "prompt:\n  init_from: old\n  init: text\n  init_text: hello",
            "x.yaml:4 and :5: prompt.init and prompt.init_from contradict each other",
        ),
        (
            "prompt:\n  init: text",
            "x.yaml:4: prompt.init_text: missing, but prompt.init: text needs it.",
        ),
        (
            "prompt:\n  init: saved",
            "x.yaml:4: prompt.init_from: missing, but prompt.init: saved needs it.",
        ),
        (
            "prompt:\n  init: text\n  init_text: hello\n  encoder: mlp",
            "x.yaml:4 and :6: prompt.encoder and prompt.init contradict each other: init: text",
        ),
        (
            "prompt:\n  init: saved\n  init_from: old\n  encoder: mlp",
            "x.yaml:4 and :6: prompt.encoder and prompt.init contradict each other: init: saved",
        ),
        (
            "prompt:\n  method: none\n  length: 5\n  hidden: 7",
            "x.yaml:4 and :5 and :6: prompt.method and prompt.length and prompt.hidden contradict",
        ),
    ],
)
def test_contradicting_keys_are_named_together(recipe: Path, lines: str, said: str) -> None:
    found = message(recipe, f"{LEAST}{lines}\n")
    assert found.startswith(said)
    assert "\n" not in found


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (
            "name: glue/sst2\n  text: sentence",
            "x.yaml:3 and :4: task.name and task.text contradict each other: text is for name:"
            " classification only, and name is 'glue/sst2'.",
        ),
        ("name: demo\n  text_pair: b", "x.yaml:3 and :4: task.name and task.text_pair contradict"),
        ("name: demo\n  label: b", "x.yaml:3 and :4: task.name and task.label contradict"),
        (
            "name: classification\n  label: b",
            "x.yaml:3: task.text: missing, but task.name: classification needs it.",
        ),
        (
            "name: classification\n  text: a",
            "x.yaml:3: task.label: missing, but task.name: classification needs it.",
        ),
        ("path: x", "x.yaml:2: task.name: missing, expected non-empty text. Add it."),
    ],
)
def test_columns_go_with_classification(recipe: Path, task: str, said: str) -> None:
    found = message(recipe, f"backbone: {{name: t5-base}}\ntask:\n  {task}\n")
    assert found.startswith(said)
    assert "\n" not in found


def test_a_clash_that_only_follows_from_another_mistake_is_not_shown(recipe: Path) -> None:
    found = message(recipe, f"{LEAST}prompt: {{encoder: mpl, hidden: 64}}\n")
    assert found == (
        "x.yaml:3: prompt.encoder: found 'mpl' (str), expected 'table' or 'mlp'."
        " Did you mean 'mlp'?"
    )


def test_python_callers_meet_the_same_rules() -> None:
    with pytest.raises(ValueError, match=r"prompt\.encoder and prompt\.hidden contradict"):
        Prefix(hidden=64)


def test_a_repeated_key_is_refused_with_both_lines(recipe: Path) -> None:
    found = message(recipe, f"{LEAST}run: a\nrun: b\n")
    assert found == "x.yaml:3 and :4: run: written twice. Keep one."


def test_sections_without_keys_are_as_if_absent(recipe: Path) -> None:
    recipe.write_text(f"{LEAST}train:\n  # lr: 1\nprompt:\n")
    bare = load_recipe(recipe)
    recipe.write_text(LEAST)
    assert bare == load_recipe(recipe)


def test_an_empty_file_lacks_what_every_recipe_needs(recipe: Path) -> None:
    assert message(recipe, "") == (
        "x.yaml: backbone.name: missing, expected non-empty text. Add it.\n"
        "x.yaml: task.name: missing, expected non-empty text. Add it."
    )
    load_recipe(recipe, ["backbone.name=a", "task.name=demo"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n", "x.yaml: found a list, ['a'], expected the sections backbone, prompt, task"),
        ("hello\n", "x.yaml: found 'hello' (str), expected the sections backbone"),
        ("a: 1\nb: [\n", "x.yaml:3: cannot be read as YAML: "),
        ("a: &x 1\nb: *x\n", "x.yaml:2: cannot be read as YAML: an alias (*name) is not allowed"),
        ("a: !!python/name:os.system\n", "x.yaml:1: cannot be read as YAML: a tag (tag:yaml.org,2"),
        ("a: \x00\n", "x.yaml:1: cannot be read as YAML: the character U+0000 is not allowed."),
        ("#" * (2**16 + 1), "x.yaml: larger than 64 KiB, so this is not a recipe."),
    ],
)
def test_files_that_are_no_recipes(recipe: Path, text: str, said: str) -> None:
    assert message(recipe, text).startswith(said)


def test_a_bomb_of_aliases_is_refused(recipe: Path) -> None:
    levels = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 20)]
    found = message(recipe, "\n".join(["l0: &l0 [x]", *levels]))
    assert found.startswith("x.yaml:2: cannot be read as YAML: an alias")


def test_a_long_list_of_problems_is_cut(recipe: Path) -> None:
    found = message(recipe, LEAST + "".join(f"k{i}: 1\n" for i in range(30))).splitlines()
    assert found[-1] == "... and 10 more."
    assert len(found) == 21


def test_latin_1_is_refused_with_its_line(recipe: Path) -> None:
    recipe.write_bytes(LEAST.encode() + "run: é\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"x\.yaml:3: not UTF-8\. Save the file as UTF-8\."):
        load_recipe(recipe)


def test_a_byte_order_mark_is_no_part_of_a_key(recipe: Path) -> None:
    recipe.write_text(LEAST, encoding="utf-8-sig")
    assert load_recipe(recipe).backbone.name == "t5-base"


def test_paths_that_are_no_files(recipe: Path) -> None:
    recipe.write_text(LEAST)
    folder = recipe.parent
    for path, said in [
        (folder, "is not a file. Name a recipe's YAML file."),
        (folder / "y.yaml", "no such file. Did you mean 'x.yaml'?"),
        (folder / "none" / "x.yaml", "no such file."),
        (folder / "x.yaml" / "x.yaml", "no such file."),
        (folder / "a\0b", "no such file."),
        (folder / ("x" * 5000), "cannot be read: File name too long."),
        (Path("/dev/null"), "is not a file. Name a recipe's YAML file."),
    ]:
        with pytest.raises(UserError) as caught:
            load_recipe(path)
        assert str(caught.value).endswith(said)
        assert "\0" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission(recipe: Path) -> None:
    recipe.write_text(LEAST)
    recipe.chmod(0)
    with pytest.raises(UserError, match="cannot be read: Permission denied"):
        load_recipe(recipe)


def test_overrides_are_yaml_and_the_last_one_counts(recipe: Path) -> None:
    recipe.write_text(f"{LEAST}train: {{epochs: 3}}\nprompt: {{length: 5}}\n")
    config = load_recipe(
        recipe,
        [
            "train.lr=1e-3",
            "train.lr=2e-3",
            "train.epochs=null",
            "train.steps=7",
            "prompt.layers=[1, 3]",
            "task.path=a=b",
            "trackers=[tensorboard]",
            "train.clip=",
        ],
    )
    assert (config.train.lr, config.train.epochs, config.train.steps) == (0.002, None, 7)
    assert isinstance(config.prompt, Prefix)
    assert (config.prompt.layers, config.prompt.length) == ([1, 3], 5)
    assert (config.task.path, config.trackers, config.train.clip) == ("a=b", ["tensorboard"], None)


def test_an_override_replaces_a_whole_section(recipe: Path) -> None:
    recipe.write_text(f"{LEAST}prompt: {{length: 5}}\n")
    assert load_recipe(recipe, ["prompt={method: none}"]).prompt == HeadOnly(method="none")


def test_what_an_override_has_replaced_is_no_longer_in_the_file(recipe: Path) -> None:
    found = message(recipe, f"{LEAST}prompt: {{length: 5}}\n", "prompt={length: 0}")
    assert found.startswith("override 'prompt={length: 0}': prompt.length: found 0 (int)")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("foo", "expected section.key=value, such as train.lr=5e-3."),
        ("=3", "expected section.key=value, such as train.lr=5e-3."),
        ("train.=3", "expected section.key=value, such as train.lr=5e-3."),
        ("--train.lr=3", "expected section.key=value, such as train.lr=5e-3."),
        ("train.lr=[", "the value cannot be read as YAML: while parsing a flow node"),
        ("run=*x", "the value cannot be read as YAML: an alias"),
        (
            "task.pattern={text} is {mask}",
            "the value cannot be read as YAML: expected '<document start>', but found '<scalar>'."
            " Text that begins with { is put in quotes of its own:"
            " 'task.pattern=\"{text} is {mask}\"'.",
        ),
        ("train={lr: 1, lr: 2}", "train.lr: written twice. Keep one."),
        ("trian.lr=3", "trian: unknown key. Did you mean 'train'?"),
        ("train.rl=3", "train.rl: unknown key. Allowed: seed, epochs"),
        ("deepspeed.stage=3", "deepspeed: found a section, expected non-empty text."),
        ("run.x=3", "run is 'there' (str), which has no keys."),
        ("train.lr=", "train.lr: found nothing (null), expected a number above 0."),
    ],
)
def test_wrong_overrides(recipe: Path, text: str, said: str) -> None:
    found = message(recipe, f"{LEAST}run: there\n", text)
    assert found.startswith(f"override '{text}': {said}")
    assert "\n" not in found


def test_bytes_on_the_command_line_that_are_no_text_can_be_printed(recipe: Path) -> None:
    found = message(recipe, LEAST, "run=\udcff", "\udcff=1")
    found.encode("utf-8")
    assert found.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "overrides", "section", "expected"),
    [
        ("train: {epochs: 3}", ["train.steps=7"], "train", {"epochs": None, "steps": 7}),
        ("train: {steps: 3}", ["train.epochs=7"], "train", {"epochs": 7, "steps": None}),
        ("train: {epochs: 3}", ["train.epochs=null", "train.steps=7"], "train", {"steps": 7}),
        ("train: {epochs: 3}", ["train.steps=null"], "train", {"epochs": 3, "steps": None}),
        (
            "train: {schedule: exponential, decay: 0.5}",
            ["train.schedule=cosine"],
            "train",
            {"schedule": "cosine"},
        ),
        ("prompt: {init: text, init_text: a}", ["prompt.init=zero"], "prompt", {"init": "zero"}),
        (
            "prompt: {init: text, init_text: a}",
            ["prompt.init_from=old", "prompt.init=saved"],
            "prompt",
            {"init": "saved", "init_text": None, "init_from": "old"},
        ),
        ("prompt: {length: 9}", ["prompt.method=none"], "prompt", {"method": "none"}),
    ],
)
def test_an_override_replaces_what_cannot_stand_beside_it(
    recipe: Path, text: str, overrides: list[str], section: str, expected: dict[str, Any]
) -> None:
    recipe.write_text(f"{LEAST}{text}\n")
    found = getattr(load_recipe(recipe, overrides), section)
    assert {key: getattr(found, key) for key in expected} == expected
    again = getattr(override(load_recipe(recipe), overrides), section)
    assert {key: getattr(again, key) for key in expected} == expected


def test_another_metric_than_f1_has_no_class_of_its_own(recipe: Path) -> None:
    recipe.write_text("backbone: {name: a}\ntask: {name: glue/mrpc, metric: f1, positive: '0'}\n")
    for metric, positive in (("accuracy", None), ("f1", "0")):
        task = load_recipe(recipe, [f"task.metric={metric}"]).task
        assert isinstance(task, Classification)
        assert (task.metric, task.positive) == (metric, positive)


def test_a_published_task_on_the_command_line_replaces_ones_own(recipe: Path) -> None:
    recipe.write_text(
        "backbone: {name: a}\ntask: {name: classification, path: d, text: t, label: l}\n"
    )
    task = load_recipe(recipe, ["task.name=superglue/rte"]).task
    assert isinstance(task, Classification)
    assert (task.name, task.path, task.text, task.label) == ("superglue/rte", "d", None, None)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["train.steps=7", "train.epochs=3"], "train.epochs and train.steps contradict"),
        (["train={steps: 7, epochs: 3}"], "train.epochs and train.steps contradict"),
        (["train.decay=0.9"], "train.schedule and train.decay contradict"),
        (["prompt.method=none", "prompt.length=9"], "prompt.method and prompt.length contradict"),
    ],
)
def test_overrides_that_contradict_each_other(
    recipe: Path, overrides: list[str], said: str
) -> None:
    found = message(recipe, f"{LEAST}train: {{epochs: 3}}\n", *overrides)
    assert found.startswith("override '")
    assert said in found
    assert "\n" not in found


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("trackers=wandb", "trackers=[wandb]"),
        ("trackers=wandb,tensorboard", "trackers=[wandb,tensorboard]"),
        ("prompt.slots=encoder", "prompt.slots=[encoder]"),
        ("prompt.layers=3", "prompt.layers=[3]"),
        ("task.labels=no,yes", "task.labels=[no,yes]"),
    ],
)
def test_a_list_without_brackets_is_told_with_them(recipe: Path, text: str, written: str) -> None:
    found = message(recipe, LEAST, text)
    assert found.endswith(f" A list is written in brackets: {written}.")
    load_recipe(recipe, [written])


@pytest.mark.parametrize("text", ["train.betas=0.9", "trackers=7", "task.labels=yes"])
def test_brackets_are_not_advised_where_they_do_not_help(recipe: Path, text: str) -> None:
    assert "brackets" not in message(recipe, LEAST, text)


def test_override_of_a_recipe_at_hand() -> None:
    config = RunConfig.model_validate({"backbone": {"name": "a"}, "task": {"name": "demo"}})
    assert override(config, []) is config
    assert override(config, ["task.path=here"]).task.path == "here"
    with pytest.raises(UserError, match="override 'task.pth=x': task.pth: unknown key"):
        override(config, ["task.pth=x"])
    with pytest.raises(UserError, match="^override 'train.decay=0.5': train.schedule"):
        override(config, ["train.decay=0.5"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary()
    | st.text(st.sampled_from("[]{}:,-?&*!|>'\"%@#\n\t ab1")).map(str.encode)
    | st.lists(
        st.sampled_from(
            ["prompt:", "train:", "task:", "  lr: 1", "  name: x", "  method: none", "  layers: ["]
        )
    ).map(lambda lines: "\n".join(lines).encode()),
    overrides=st.lists(st.text() | st.from_regex(r"(train|prompt)\.[a-z]{1,6}=.*"), max_size=3),
)
def test_whatever_is_in_the_file_only_user_errors_come_out(
    recipe: Path, content: bytes, overrides: list[str]
) -> None:
    recipe.write_bytes(content)
    with contextlib.suppress(UserError):
        load_recipe(recipe, overrides)


PATHS = {
    "run": "run",
    "deepspeed": "deepspeed",
    "task.path": "task={name: superglue/rte, path: %s}",
    "backbone.name": "backbone.name",
    "backbone.tokenizer": "backbone.tokenizer",
    "prompt.init_from": "prompt={init: saved, init_from: %s}",
}


def path_at(config: RunConfig, key: str) -> object:
    value: object = config
    for step in key.split("."):
        value = getattr(value, step)
    return value


def with_path(key: str, value: str) -> str:
    word = PATHS[key]
    return word % json.dumps(value) if "%s" in word else f"{word}={json.dumps(value)}"


def test_every_key_of_a_path_is_known() -> None:
    """Keys whose description speaks of a folder, a directory or a path are paths."""
    found = set()
    for section, model in (
        ("", RunConfig),
        ("backbone", Backbone),
        ("prompt", Prefix),
        ("task", Classification),
    ):
        for name, field in model.model_fields.items():
            said = field.description or ""
            if re.search(r"(?i)\b(folder|directory|path of)\b", said):
                found.add(f"{section}.{name}".lstrip("."))
    assert found == set(PATHS)


@pytest.mark.parametrize("key", PATHS)
@pytest.mark.parametrize("value", ["~/x/y", "$HOME/x/y", "${SCRATCH}/x y", "~"])
def test_a_path_is_expanded_once_for_every_key(
    key: str, value: str, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("SCRATCH", "/scratch")
    recipe.write_text(LEAST)
    config = load_recipe(recipe, [with_path(key, value)])
    wanted = os.path.expandvars(os.path.expanduser(value))
    assert path_at(config, key) == wanted
    recipe.write_text(dump_recipe(config))
    assert load_recipe(recipe) == config


@pytest.mark.parametrize("key", PATHS)
def test_a_path_that_stands_for_nothing_is_named(
    key: str, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SCRATCH", raising=False)
    found = message(recipe, LEAST, with_path(key, "$SCRATCH/x"))
    assert f"{key}: found '$SCRATCH/x' (str), but the variable SCRATCH is not set." in found


@pytest.mark.parametrize("name", ["google/t5-v1_1-xxl", "gpt2", "demo", "./~x", "s3://b/$X"])
def test_other_names_are_left_alone(name: str, recipe: Path) -> None:
    recipe.write_text(LEAST)
    assert load_recipe(recipe, [f"backbone.name={name}"]).backbone.name == name


def test_text_that_is_no_path_keeps_its_signs(recipe: Path) -> None:
    recipe.write_text(LEAST)
    config = load_recipe(recipe, ["prompt={init: text, init_text: '~ costs $HOME'}"])
    assert isinstance(config.prompt, Prefix)
    assert config.prompt.init_text == "~ costs $HOME"


def test_the_run_directory_is_where_a_shell_would_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert main(["launch", "demo", "run=~/runs/x", "--nproc", "1", "--dry-run"]) == 0
    assert f"# run directory: {tmp_path}/home/runs/x" in capsys.readouterr().out.splitlines()
    assert list(tmp_path.iterdir()) == []


def test_overrides_that_are_one_text(tmp_path: Path) -> None:
    """A slip in Python, which would be read as one override a letter."""
    path = tmp_path / "recipe.yaml"
    path.write_text("backbone: {name: demo}\ntask: {name: demo}\n")
    with pytest.raises(UserError, match=r"expected a list: \['train.steps=3'\]"):
        load_recipe(path, "train.steps=3")
