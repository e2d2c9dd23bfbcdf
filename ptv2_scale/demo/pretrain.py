"""Pre-train a tiny model and its tokenizer, from generated text alone.

Run `python -m ptv2_scale.demo.pretrain OUT` for the demo's backbone, with `--model t5-cloze` for a
T5 that fills a blank with a word, with `--model llama` for a causal model.  None of them sees a
task, its labels or its files: only documents that close with verdict lines.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ptv2_scale.demo.architectures import T5, Architecture, llama
from ptv2_scale.demo.card import write_card, write_curve
from ptv2_scale.demo.objectives import NextToken, Objective, SpanCorruption
from ptv2_scale.demo.training_loop import Settings, measure_verdict_accuracy, train

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pretraining:
    """A model that can be made here.

    Attributes:
        title: of its card.
        architecture: what it is.
        objective: what it learns.
        settings: how long and how fast.
        purpose: what it is for, a sentence.
        asked: which verdict words its accuracy is of.
        about: further points of its card.
    """

    title: str
    architecture: Architecture
    objective: Objective
    settings: Settings
    purpose: str
    asked: str
    about: str = ""


DEMO_ABOUT = """\
- **Objective.**  Span corruption.  A document's end is hidden from one of its verdict lines on,
  so that the decoder writes aspects and verdicts; a few documents also hide one to three words
  elsewhere.  Inferring verdicts is therefore nearly all that the model is good at.
- **What it did not see.**  The demo task asks whether two fixed aspects of a report without
  verdict lines fared alike.  Neither that question nor the task's rows or labels took part in
  pre-training, but the task is of the same generated language and builds on the verdicts,
  chosen so that what was learned here applies.
- **How it was chosen.**  The task and the number of steps were picked, by the task's validation
  split, so that a prefix shows its worth.  After 2000 steps instead of 1000 a linear head on
  the frozen model alone told 88% of that split rightly, against 58% for this one.
"""
CLOZE_ABOUT = """\
- **Objective.**  Span corruption.  Of half the documents one verdict's word is hidden, as a cloze
  asks for it; of the others all from a verdict line on.  A few also hide one to three other words.
"""
CAUSAL_ABOUT = """\
- **Objective.**  Every word of a document from those before it, and the document's end.
"""

MODELS: dict[str, Pretraining] = {
    "demo": Pretraining(
        "Demo backbone",
        T5,
        SpanCorruption(),
        Settings(),
        "It exists to make this package's demo run\n"
        "offline in minutes; it knows no language but the generated one below.",
        "hidden",
        DEMO_ABOUT,
    ),
    "t5-cloze": Pretraining(
        "T5 that fills a blank",
        T5,
        SpanCorruption(single_word_share=0.5),
        Settings(steps=400, short_steps=200),
        "It answers a cloze by its head\n"
        "over the vocabulary; it knows no language but the generated one below.",
        "hidden",
        CLOZE_ABOUT,
    ),
    "llama": Pretraining(
        "Causal model",
        llama(),
        NextToken(),
        Settings(steps=400, short_steps=200),
        "It goes on with a text; it knows\nno language but the generated one below.",
        "written",
        CAUSAL_ABOUT,
    ),
}


LADDER_ABOUT = """\
- **Objective.**  Every word of a document from those before it, and the document's end.
- **What it did not see.**  The tasks of this package's sweeps, their rows and labels.
- **How it was chosen.**  It is one of four sizes of one family.  Small ones were given more
  steps, about as much computation each.
"""


def _of_ladder(size: str, width: int, layers: int, steps: int) -> Pretraining:
    """One size of the ladder that `ptv2-scale sweep demo` goes over."""
    return Pretraining(
        f"Demo backbone of {size} parameters",
        llama(width, layers),
        NextToken(),
        Settings(steps=steps, short_steps=steps * 2 // 5),
        "It exists to compare methods over sizes\n"
        "offline in minutes; it knows no language but the generated one below.",
        "written",
        LADDER_ABOUT,
    )


MODELS |= {
    "demo-12k": _of_ladder("12 thousand", 16, 4, 4000),
    "demo-24k": _of_ladder("24 thousand", 32, 2, 2000),
    "demo-190k": _of_ladder("190 thousand", 96, 2, 800),
    "demo-380k": _of_ladder("380 thousand", 96, 4, 500),
}


def pretrain(out: Path, name: str, steps: int | None = None) -> float:
    """Make a model of `MODELS` and write everything that belongs to it into `out`.

    Args:
        out: a folder; its card is written last.
        name: of the model.
        steps: of training; None: as many as the model is meant to have.

    Returns:
        The share of the verdict words of fresh documents that it tells rightly.
    """
    made = MODELS[name]
    settings = made.settings if steps is None else replace(made.settings, steps=steps)
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    tokenizer = made.architecture.tokenizer()
    ids = tokenizer.get_vocab()
    model = made.architecture.model(tokenizer)
    curve = train(model, ids, made.architecture, made.objective, settings)
    accuracy = measure_verdict_accuracy(model, ids, made.objective, settings)
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    write_curve(out / "loss_curve.csv", curve)
    write_card(out / "README.md", curve, settings, accuracy, _facts(made, name, model, tokenizer))
    LOG.info("verdict accuracy %.4f", accuracy)
    return accuracy


def _facts(made: Pretraining, name: str, model: Any, tokenizer: Any) -> dict[str, object]:
    """What a card says of a model beside how the run went."""
    chosen = "" if name == "demo" else f" --model {name}"
    return {
        "title": made.title,
        "style": made.architecture.style,
        "details": made.architecture.details,
        "purpose": made.purpose,
        "asked": made.asked,
        "about": made.about,
        "rate": made.architecture.rate_in_words,
        "command": f"python -m ptv2_scale.demo.pretrain OUT{chosen}",
        "parameters": model.num_parameters(),
        "vocabulary": len(tokenizer),
    }


def ensure_pretrained(folder: Path, name: str) -> Path:
    """The folder of a model of `MODELS`, which is made there unless it is there already."""
    if not (folder / "README.md").is_file():
        pretrain(folder, name)
    return folder


def main(arguments: Sequence[str] | None = None) -> None:
    """Pre-train a model into the folder named on the command line."""
    parser = argparse.ArgumentParser(description="Pre-train a tiny model on generated text.")
    parser.add_argument("out", type=Path, help="folder for the model")
    parser.add_argument("--model", choices=tuple(MODELS), default="demo", help="which model")
    parser.add_argument("--steps", type=int, help="training steps")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    pretrain(options.out, options.model, options.steps)


if __name__ == "__main__":
    main()
