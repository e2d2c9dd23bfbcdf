"""Text that answers text: sequence-to-sequence for T5 and classic GLM, else language modelling."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.backbones.load import BackboneFiles
from ptv2_scale.config import TextToText
from ptv2_scale.data.collate import IGNORED, Batch, Example, Padding, pad_rows
from ptv2_scale.data.rows import Row, place_of
from ptv2_scale.data.splits import Split, Splits
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.base import (
    Leaderboard,
    Record,
    RowTask,
    Style,
    Submission,
    Tokenizer,
    Trivial,
)
from ptv2_scale.tasks.catalogue import splits_of
from ptv2_scale.tasks.chat import Chats
from ptv2_scale.tasks.heads import Head
from ptv2_scale.tasks.language_head import LABELS, LanguageHead
from ptv2_scale.tasks.text_layouts import TextLayout, layout_inputs, layout_of, longest_inputs
from ptv2_scale.tasks.text_pairs import Pairs, TextSource
from ptv2_scale.tasks.text_scores import WRITTEN, check_packages

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextTask(RowTask):
    """A `Task` of a text for each row.

    Attributes:
        section: the recipe's.
        splits: where the rows are.
        files: of the backbone; None: not known yet.
    """

    section: TextToText
    splits: Splits
    files: BackboneFiles | None = None

    labels: tuple[str, ...] = ()

    def on(self, files: BackboneFiles) -> TextTask:
        """See `BackboneReader`."""
        blank = files.family.vocabulary.blank
        if blank == "mask":
            raise UserError(
                "task.kind: text is for T5, classic GLM and causal models, which write token by"
                f" token; {files.family.name} does not here."
            )
        if self.section.messages is not None and blank != "last":
            raise UserError(
                f"task.messages: conversations are for causal models; {files.family.name} reads a"
                " text and writes another: give them by task.input and task.target."
            )
        return replace(self, files=files)

    @property
    def _files(self) -> BackboneFiles:
        assert self.files is not None  # a task is put on its backbone before it encodes
        return self.files

    @property
    def _source(self) -> TextSource:
        section = self.section
        if section.messages is not None:
            return Chats(section.messages, section.turns or "all")
        return Pairs(section.input or "input", section.target or "target")

    def _layout(self, tokenizer: Tokenizer) -> TextLayout:
        return layout_of(self._files, self._source, tokenizer)

    @property
    def columns(self) -> tuple[str, ...]:
        """See `Task`."""
        return self._source.columns

    @property
    def metric(self) -> str:
        """See `Task`."""
        return self.section.metric

    def resolved(self) -> TextToText:
        """See `Task`: nothing is found in the data."""
        return self.section

    def describe(self) -> list[str]:
        """See `Task`."""
        return [self._source.describe()]

    def describe_rows(self, rows: Sequence[Mapping[str, object]]) -> list[str]:
        """See `Task`."""
        return [f"{len(rows)} texts with their answers"]

    def rows(self, split: Split) -> list[Row]:
        """See `Task`."""
        return self.splits.rows(split, self._source.answered)

    def check_row(self, row: Mapping[str, object], number: int) -> None:
        """See `Task`."""
        self._source.check_row(row, number)

    def submission(self, board: Leaderboard, source: Path) -> Submission:
        """See `Task`: there is none."""
        raise UserError("task.kind: text is no leaderboard's.")

    def encode(
        self,
        rows: Sequence[Mapping[str, object]],
        tokenizer: Tokenizer,
        style: Style,
        max_length: int,
        with_targets: bool = True,
    ) -> list[Example]:
        """See `Task`: an example's target is the token that each place is to say, or IGNORED.

        Without answers an example is what `PromptedModel.generate` reads.

        Raises:
            UserError: see `Task`; or the tokenizer has no end of a text.
        """
        layout = self._layout(tokenizer)
        end = layout.answer_end(tokenizer)
        places = [place_of(row, number) for number, row in enumerate(rows, start=1)]
        if not with_targets:
            prompts = self._source.prompts(rows, tokenizer)
            pairs = zip(prompts, places, strict=True)
            found = [layout.asked(prompt, tokenizer, place) for prompt, place in pairs]
            inputs = [layout.prompt(prompt, max_length) for prompt in found]
            return [Example(number, one) for number, one in enumerate(inputs)]
        given = self._source.passages(rows, tokenizer, end)
        passages = [
            replace(one, prompt=layout.asked(one.prompt, tokenizer, place))
            for one, place in zip(given, places, strict=True)
        ]
        for place, passage in zip(places, passages, strict=True):
            if not passage.prompt:
                raise UserError(f"{place}: the text has no tokens.")
        self._warn_of_cuts(
            sum(not layout.fits(one, max_length) for one in passages), len(passages), max_length
        )
        encoded = (layout.answered(passage, max_length) for passage in passages)
        return [Example(number, *one) for number, one in enumerate(encoded)]

    def _warn_of_cuts(self, cut: int, texts: int, max_length: int) -> None:
        if cut:
            logger.warning(
                f"{self.name}: {cut} of {texts} texts are longer than {max_length} tokens "
                "and were cut (task.max_length)"
            )

    @property
    def max_new_tokens(self) -> int:
        """See `TextWriter`."""
        return self.section.max_new_tokens

    def answer_end(self, tokenizer: Tokenizer) -> int:
        """See `TextWriter`."""
        return self._layout(tokenizer).answer_end(tokenizer)

    def written(self, tokens: Sequence[int], tokenizer: Tokenizer) -> Record:
        """See `TextWriter`: `text`, without the space that parts it from what was given."""
        text: str = tokenizer.decode(tokens, skip_special_tokens=True)
        return {"text": text.removeprefix(" ")}

    @property
    def scores_written(self) -> bool:
        """See `TextWriter`."""
        return self.metric in WRITTEN

    def unanswered(self, example: Example, tokenizer: Tokenizer) -> Example:
        """See `TextWriter`."""
        return self._layout(tokenizer).unanswered(example)

    def longest(self, length: int) -> list[Example]:
        """See `Task`: every token is learned, and a T5's answer is as long as its text."""
        target = [0] * length
        return [Example(0, longest_inputs(self._files.family, length), target)]

    def head(self, family: Family, config: Config) -> Head:
        """See `Task`."""
        return LanguageHead(self._files, self.section.chunk)

    def collate(self, examples: Sequence[Example], pad: Padding) -> Batch:
        """See `Task`: the labels are an input, for the head scores them where it has the weight."""
        inputs = layout_inputs(examples, pad)
        if examples[0].target is None:
            return Batch(inputs)
        longest = max(len(one.target) for one in examples)
        inputs[LABELS] = pad_rows([one.target for one in examples], longest, IGNORED)
        return Batch(inputs, self.targets(examples))

    def targets(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """See `Task`: none beside the labels among the inputs."""
        return {}

    def loss_sum(self, outputs: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Negative log-likelihood of the answers' tokens, of losses and hits [batch, tokens, 2]."""
        return outputs[..., 0].sum()

    def loss_count(self, examples: Sequence[Example]) -> int:
        """Tokens of the answers, their ends among them."""
        return sum(_answered(one) for one in examples)

    def decode(self, outputs: Tensor, examples: Sequence[Example]) -> list[Record]:
        """See `Task`: `log_likelihood` of an answer, its `tokens`, and whether it is `exact`.

        Greedy decoding gives an answer to the letter just where each of its tokens is the likeliest
        one behind those before it.
        """
        if any(example.target is None for example in examples):
            raise UserError(
                "task.kind: text: without a target there is nothing to score. Text is written by"
                " Predictor.predict, Predictor.generate and PromptedModel.generate."
            )
        sums = outputs.float().sum(dim=1).cpu().tolist()
        return [
            {
                "log_likelihood": -loss,
                "tokens": _answered(example),
                "exact": round(hits) == _answered(example),
            }
            for (loss, hits), example in zip(sums, examples, strict=True)
        ]

    def score(
        self, records: Sequence[Record], rows: Sequence[Mapping[str, object]]
    ) -> dict[str, float]:
        """See `Task`: mean log-likelihood of a token, its perplexity, and exact answers' share.

        Of answers that were written ROUGE-L and BLEU, too.
        """
        tokens = sum(record["tokens"] for record in records)
        mean = sum(record["log_likelihood"] for record in records) / tokens
        found = {
            "log_likelihood": mean,
            "perplexity": math.exp(min(-mean, 700.0)),
            "exact_match": sum(record["exact"] for record in records) / len(records),
        }
        if self.scores_written:
            texts = [record["text"] for record in records]
            found |= {name: score(texts, self._answers(rows)) for name, score in WRITTEN.items()}
        return {self.metric: found[self.metric], **found}

    def _answers(self, rows: Sequence[Mapping[str, object]]) -> list[str]:
        return [self._source.answer(row, number) for number, row in enumerate(rows, start=1)]

    def trivial(self, rows: Sequence[Mapping[str, object]]) -> Trivial:
        """See `Task`."""
        if self.metric == "log_likelihood":
            value = -math.log(int(self._files.config.vocab_size))
            return Trivial(value, "a guess among all tokens")
        answers = self._answers(rows)
        ((frequent, count),) = Counter(answers).most_common(1)
        value = count / len(answers)
        if self.scores_written:
            value = WRITTEN[self.metric]([frequent] * len(answers), answers)
        return Trivial(value, "the most frequent answer")


def _answered(example: Example) -> int:
    return sum(label != IGNORED for label in example.target)


def build(section: TextToText) -> TextTask:
    """The task of a recipe's section.

    Raises:
        UserError: its files have no folder, or a package that scores its answers is not installed.
    """
    if section.metric in WRITTEN:
        check_packages()
    return TextTask(section, splits_of(section))
