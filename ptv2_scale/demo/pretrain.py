"""Pre-train the demo's backbone: a tiny T5 and its tokenizer, from generated text alone.

Run `python -m ptv2_scale.demo.pretrain OUT`.  The objective is T5's span corruption: spans
of a document give way to sentinels, and the decoder writes the spans.  Most hidden spans are
verdict lines, so the model learns to tell the verdict on an aspect once it has named it.  It
never sees the demo's task, its labels or its files.
"""

from __future__ import annotations

import argparse
import csv
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from ptv2_scale.demo.language import (
    MOST_ASPECTS,
    VERDICTS,
    Document,
    vocabulary,
    write_document,
)

LOG = logging.getLogger(__name__)

PAD, EOS, UNK = "<pad>", "</s>", "<unk>"
SENTINELS: tuple[str, ...] = tuple(f"<extra_id_{number}>" for number in range(10))
IGNORED_LABEL = -100  # what the model's loss leaves out


@dataclass(frozen=True)
class Settings:
    """What a pre-training run is made of; the defaults made the committed backbone."""

    seed: int = 7
    threads: int = 1
    steps: int = 1000
    short_steps: int = 400
    aspects_while_short: int = 2
    batch_size: int = 64
    relative_learning_rate: float = 1e-2
    warmup_steps: int = 100
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    other_span_share: float = 0.05
    longest_other_span: int = 3
    log_every: int = 20
    probe_documents: int = 1000


@dataclass(frozen=True)
class Batch:
    """One batch as the model's forward takes it."""

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor


Span = tuple[int, int]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer over the generator's vocabulary, with T5's special tokens."""
    tokens = [PAD, EOS, UNK, *SENTINELS, *vocabulary()]
    ids = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNK))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {EOS}", pair=f"$A {EOS} $B {EOS}", special_tokens=[(EOS, ids[EOS])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        additional_special_tokens=list(SENTINELS),
        model_max_length=512,
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> T5ForConditionalGeneration:
    """An untrained T5 of the v1.1 style: gated activations, no dropout."""
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=96,
        d_kv=16,
        d_ff=192,
        num_heads=8,
        num_layers=3,
        num_decoder_layers=2,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    model = T5ForConditionalGeneration(config)
    sharpen_position_biases(model)
    return model


def sharpen_position_biases(model: T5ForConditionalGeneration) -> None:
    """Start the heads with clear tastes for positions.

    The usual start is near zero, and at this scale a head needs most of the run to grow a
    bias that tells a word's neighbours from the rest of the text.
    """
    for name, parameter in model.named_parameters():
        if "relative_attention_bias" in name:
            torch.nn.init.normal_(parameter)


def build_optimizer(model: T5ForConditionalGeneration, settings: Settings) -> AdamW:
    """AdamW whose learning rates follow the size of each parameter at the start.

    T5 starts query weights tiny and embeddings large, since its own optimizer scales
    updates to the parameter; with one rate for all, the queries overshoot.
    """
    groups = [
        {
            "params": [p],
            "lr": settings.relative_learning_rate * p.detach().square().mean().sqrt().item(),
        }
        for p in model.parameters()
    ]
    return AdamW(groups, betas=(0.9, 0.98), weight_decay=settings.weight_decay)


def choose_spans(rng: Random, document: Document, settings: Settings) -> list[Span]:
    """Which spans to hide: the end of the document from some verdict line, and at times more."""
    spans = [(rng.choice(document.verdict_starts), len(document.words))]
    if rng.random() < settings.other_span_share:
        length = rng.randint(1, settings.longest_other_span)
        start = rng.randrange(document.verdict_starts[0] - length)
        spans.append((start, start + length))
    return sorted(spans)


def corrupt(words: Sequence[str], spans: Sequence[Span]) -> tuple[list[str], list[str]]:
    """What the encoder reads and what the decoder writes once `spans` are hidden."""
    source: list[str] = []
    target: list[str] = []
    position = 0
    for sentinel, (start, stop) in zip(SENTINELS, spans, strict=False):
        source += [*words[position:start], sentinel]
        target += [sentinel, *words[start:stop]]
        position = stop
    return [*source, *words[position:], EOS], [*target, SENTINELS[len(spans)], EOS]


def pad_rows(rows: Sequence[Sequence[int]], filling: int) -> Tensor:
    """Rows of ids as one tensor, filled up on the right."""
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[filling] * (width - len(row))] for row in rows])


def make_batch(
    rng: Random, ids: dict[str, int], settings: Settings, most_aspects: int, size: int
) -> Batch:
    """A batch of fresh documents, corrupted; no document is kept for a second pass."""
    sources: list[list[int]] = []
    targets: list[list[int]] = []
    for _ in range(size):
        document = write_document(rng, most_aspects)
        source, target = corrupt(document.words, choose_spans(rng, document, settings))
        sources.append([ids[word] for word in source])
        targets.append([ids[word] for word in target])
    input_ids = pad_rows(sources, ids[PAD])
    return Batch(input_ids, (input_ids != ids[PAD]).long(), pad_rows(targets, IGNORED_LABEL))


def learning_rate_factor(step: int, settings: Settings) -> float:
    """Linear warm-up, then a cosine down to zero at the last step."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / (settings.steps - settings.warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * done))


def compute_loss(model: T5ForConditionalGeneration, batch: Batch) -> Tensor:
    """Mean cross-entropy of a batch's target tokens."""
    loss: Tensor = model(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels
    ).loss
    return loss


@dataclass(frozen=True)
class LossPoint:
    """The mean loss of the steps since the last point, and the seconds since the start."""

    step: int
    loss: float
    seconds: float


def train(
    model: T5ForConditionalGeneration, ids: dict[str, int], settings: Settings
) -> list[LossPoint]:
    """Train `model` in place and return its loss curve."""
    rng = Random(settings.seed)
    optimizer = build_optimizer(model, settings)
    schedule = LambdaLR(optimizer, lambda step: learning_rate_factor(step, settings))
    curve: list[LossPoint] = []
    recent: list[float] = []
    start = time.perf_counter()
    model.train()
    for step in range(1, settings.steps + 1):
        most = settings.aspects_while_short if step <= settings.short_steps else MOST_ASPECTS
        loss = compute_loss(model, make_batch(rng, ids, settings, most, settings.batch_size))
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(model.parameters(), settings.max_gradient_norm)
        optimizer.step()
        schedule.step()
        recent.append(loss.item())
        if step % settings.log_every == 0:
            seconds = time.perf_counter() - start
            curve.append(LossPoint(step, sum(recent) / len(recent), seconds))
            recent.clear()
            LOG.info("step %d  loss %.4f  %.0f s", step, curve[-1].loss, seconds)
    return curve


@torch.no_grad()
def measure_verdict_accuracy(
    model: T5ForConditionalGeneration, ids: dict[str, int], settings: Settings
) -> float:
    """The share of hidden verdict words that the model gets right in fresh documents."""
    rng = Random(settings.seed + 1)
    batch = make_batch(rng, ids, settings, MOST_ASPECTS, settings.probe_documents)
    model.eval()
    logits = model(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels
    ).logits
    verdict_ids = torch.tensor([ids[word] for word in VERDICTS.values()])
    is_verdict = torch.isin(batch.labels, verdict_ids)
    hits = logits.argmax(-1)[is_verdict] == batch.labels[is_verdict]
    return float(hits.float().mean())


def write_curve(path: Path, curve: Sequence[LossPoint]) -> None:
    """Write the loss curve as comma-separated values."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", "loss", "seconds"])
        writer.writerows([p.step, f"{p.loss:.4f}", f"{p.seconds:.1f}"] for p in curve)


CARD = """\
---
license: apache-2.0
library_name: transformers
---

# Demo backbone

A tiny T5 of {parameters:,} parameters (v1.1 style: gated activations, no dropout), with a
word-level tokenizer of {vocabulary} tokens.  It exists to make this package's demo run
offline in minutes; it knows no language but the generated one below.

- **Text.**  Only what `ptv2_scale.demo.language` writes: reports of hotel stays, each with
  an opinion on one to four of six aspects (at most two in the first {short_steps} steps), closed
  by a verdict line on each of them such as "food good .".  No text of a third party.
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
- **How.**  `python -m ptv2_scale.demo.pretrain OUT`: seed {seed}, {threads} thread(s),
  {steps} steps of {batch} fresh documents, AdamW, learning rates of at
  most {rate} of each parameter's size, {seconds:.0f} seconds on a shared CPU.
- **Result.**  Final loss {loss:.4f} (`loss_curve.csv`); {accuracy:.1%} of the hidden verdict
  words of fresh documents are told rightly.
- **Licence.**  Apache-2.0.
"""


def write_card(
    path: Path,
    model: T5ForConditionalGeneration,
    curve: Sequence[LossPoint],
    accuracy: float,
    settings: Settings,
) -> None:
    """Write the model card: what the backbone is and how it was made."""
    card = CARD.format(
        parameters=model.num_parameters(),
        vocabulary=model.config.vocab_size,
        seed=settings.seed,
        threads=settings.threads,
        steps=settings.steps,
        short_steps=settings.short_steps,
        batch=settings.batch_size,
        rate=settings.relative_learning_rate,
        seconds=curve[-1].seconds,
        loss=curve[-1].loss,
        accuracy=accuracy,
    )
    path.write_text(card, encoding="utf-8")


def pretrain(out: Path, settings: Settings) -> None:
    """Make the backbone and write everything that belongs to it into `out`."""
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    tokenizer = build_tokenizer()
    ids = tokenizer.get_vocab()
    model = build_model(tokenizer)
    curve = train(model, ids, settings)
    accuracy = measure_verdict_accuracy(model, ids, settings)
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    write_curve(out / "loss_curve.csv", curve)
    write_card(out / "README.md", model, curve, accuracy, settings)
    LOG.info("verdict accuracy %.4f", accuracy)


def main(arguments: Sequence[str] | None = None) -> None:
    """Pre-train the backbone into the folder named on the command line."""
    parser = argparse.ArgumentParser(description="Pre-train the demo's backbone.")
    parser.add_argument("out", type=Path, help="folder for the backbone")
    parser.add_argument("--steps", type=int, default=Settings.steps, help="training steps")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    pretrain(options.out, Settings(steps=options.steps))


if __name__ == "__main__":
    main()
