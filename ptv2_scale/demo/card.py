"""The model card of a model that was pre-trained here, and its loss curve."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from ptv2_scale.demo.training_loop import LossPoint, Settings

CARD = """\
---
license: apache-2.0
library_name: transformers
---

# {title}

A tiny {style} of {parameters:,} parameters {details}, with a
word-level tokenizer of {vocabulary} tokens.  {purpose}

- **Text.**  Only what `ptv2_scale.demo.language` writes: reports of hotel stays, each with
  an opinion on one to four of six aspects (at most two in the first {short_steps} steps), closed
  by a verdict line on each of them such as "food good .".  No text of a third party.
{about}- **How.**  `{command}`: seed {seed}, {threads} thread(s),
  {steps} steps of {batch} fresh documents, AdamW, learning rates of at
  most {rate}, {seconds:.0f} seconds on a shared CPU.
- **Result.**  Final loss {loss:.4f} (`loss_curve.csv`); {accuracy:.1%} of the {asked} verdict
  words of fresh documents are told rightly.
- **Licence.**  Apache-2.0.
"""


def write_card(
    path: Path,
    curve: Sequence[LossPoint],
    settings: Settings,
    accuracy: float,
    facts: dict[str, object],
) -> None:
    """Write the model card: what the model is and how it was made; `facts` are the model's."""
    card = CARD.format(
        seed=settings.seed,
        threads=settings.threads,
        steps=settings.steps,
        short_steps=settings.short_steps,
        batch=settings.batch_size,
        seconds=curve[-1].seconds,
        loss=curve[-1].loss,
        accuracy=accuracy,
        **facts,
    )
    path.write_text(card, encoding="utf-8")


def write_curve(path: Path, curve: Sequence[LossPoint]) -> None:
    """Write the loss curve as comma-separated values."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", "loss", "seconds"])
        writer.writerows([p.step, f"{p.loss:.4f}", f"{p.seconds:.1f}"] for p in curve)
