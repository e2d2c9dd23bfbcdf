"""Text that answers text: sequence-to-sequence for T5, language modelling for causal models."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from ptv2_scale.backbones.family import Config, Family
from ptv2_scale.backbones.load import BackboneFiles
from ptv2_scale.config import TextToText
from ptv2_scale.data.collate import IGNORED, Batch, Example, Padding, pad_inputs, pad_rows
from ptv2_scale.data.rows import Row, place_of, text_of
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
from ptv2_scale.tasks.cloze import tokens_behind, without_ends
from ptv2_scale.tasks.heads import Head
from ptv2_scale.tasks.language_head import LABELS, LanguageHead
from ptv2_scale.tasks.text import encode_texts

logger = logging.getLogger(__name__)

_DECODER = "decoder_input_ids"


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
        if files.family.vocabulary.blank not in ("last", "sentinel"):
            raise UserError(
                f"task.kind: text is for T5 and causal models, which write token by token;"
                f" {files.family.name} does not here."
            )
        return replace(self, files=files)

    @property
    def _files(self) -> BackboneFiles:
        assert self.files is not None  # a task is put on its backbone before it encodes
        return self.files

    @property
    def columns(self) -> tuple[str, ...]:
        """See `Task`."""
        return (self.section.input,)

    @property
    def metric(self) -> str:
        """See `Task`."""
        return self.section.metric

    def resolved(self) -> TextToText:
        """See `Task`: nothing is found in the data."""
        return self.section

    def describe(self) -> list[str]:
        """See `Task`."""
        return [f"text: {self.section.target}, behind {self.section.input}"]

    def describe_rows(self, rows: Sequence[Mapping[str, object]]) -> list[str]:
        """See `Task`."""
        return [f"{len(rows)} texts with their answers"]

    def rows(self, split: Split) -> list[Row]:
        """See `Task`."""
        return self.splits.rows(split, (self.section.input, self.section.target))

    def check_row(self, row: Mapping[str, object], number: int) -> None:
        """See `Task`."""
        text_of(row, self.section.input, number)

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
        end = self.answer_end(tokenizer)
        prompts = [(text_of(row, self.section.input, n),) for n, row in enumerate(rows, start=1)]
        found = [one["input_ids"] for one in encode_texts(tokenizer, prompts)]
        if not with_targets:
            return [
                Example(n, self._prompt(ids, tokenizer, max_length)) for n, ids in enumerate(found)
            ]
        answers = [
            [*tokens_behind(text_of(row, self.section.target, n), True, tokenizer), end]
            for n, row in enumerate(rows, start=1)
        ]
        examples = []
        for number, (prompt, answer) in enumerate(zip(found, answers, strict=True)):
            inputs, target = self._lined_up(prompt, answer, tokenizer, max_length)
            if not inputs["input_ids"]:
                raise UserError(f"{place_of(rows[number], number + 1)}: the text has no tokens.")
            examples.append(Example(number, inputs, target))
        self._warn_of_cuts(found, answers, max_length)
        return examples

    @property
    def max_new_tokens(self) -> int:
        """See `TextWriter`."""
        return self.section.max_new_tokens

    def answer_end(self, tokenizer: Tokenizer) -> int:
        """See `TextWriter`."""
        end = tokenizer.eos_token_id
        if end is None:
            raise UserError("task.kind: text: the tokenizer has no token that ends a text.")
        return int(end)

    def written(self, tokens: Sequence[int], tokenizer: Tokenizer) -> Record:
        """See `TextWriter`: `text`, without the space that parts it from what was given."""
        text: str = tokenizer.decode(tokens, skip_special_tokens=True)
        return {"text": text.removeprefix(" ")}

    def _prompt(
        self, prompt: list[int], tokenizer: Tokenizer, max_length: int
    ) -> dict[str, list[int]]:
        """Inputs of a row without an answer."""
        if self._files.family.encoder_decoder:
            return {"input_ids": _cut(prompt, max_length, 1)}
        return {"input_ids": _without_end(prompt, tokenizer)[:max_length]}

    def _lined_up(
        self, prompt: list[int], answer: list[int], tokenizer: Tokenizer, max_length: int
    ) -> tuple[dict[str, list[int]], list[int]]:
        """Inputs of a row, and what each place is to say."""
        if self._files.family.encoder_decoder:
            answer = answer[:max_length]
            start = self._files.family.decoder_start(self._files.config)
            read = self._prompt(prompt, tokenizer, max_length)
            return {**read, _DECODER: [int(start or 0), *answer[:-1]]}, answer
        answer = answer[: max_length // 2]
        prompt = _without_end(prompt, tokenizer)[: max_length - len(answer) + 1]
        return (
            {"input_ids": [*prompt, *answer[:-1]]},
            [*[IGNORED] * (len(prompt) - 1), *answer],
        )

    def _warn_of_cuts(
        self, prompts: Sequence[list[int]], answers: Sequence[list[int]], max_length: int
    ) -> None:
        apart = self._files.family.encoder_decoder
        pairs = zip(prompts, answers, strict=True)
        cut = sum(
            max(len(one), len(two)) > max_length if apart else len(one) + len(two) > max_length
            for one, two in pairs
        )
        if cut:
            logger.warning(
                f"{self.name}: {cut} of {len(prompts)} texts are longer than {max_length} tokens "
                "and were cut (task.max_length)"
            )

    def head(self, family: Family, config: Config) -> Head:
        """See `Task`."""
        return LanguageHead(self._files, self.section.chunk)

    def collate(self, examples: Sequence[Example], pad: Padding) -> Batch:
        """See `Task`: the labels are an input, for the head scores them where it has the weight."""
        texts = [Example(one.row, {"input_ids": one.inputs["input_ids"]}, None) for one in examples]
        inputs = pad_inputs(texts, pad)
        if examples[0].target is None:
            return Batch(inputs)
        longest = max(len(one.target) for one in examples)
        inputs[LABELS] = pad_rows([one.target for one in examples], longest, IGNORED)
        if _DECODER in examples[0].inputs:
            rows = [one.inputs[_DECODER] for one in examples]
            inputs[_DECODER] = pad_rows(rows, longest, pad.token)
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
        """See `Task`: mean log-likelihood of a token, its perplexity, and exact answers' share."""
        tokens = sum(record["tokens"] for record in records)
        mean = sum(record["log_likelihood"] for record in records) / tokens
        found = {
            "log_likelihood": mean,
            "perplexity": math.exp(min(-mean, 700.0)),
            "exact_match": sum(record["exact"] for record in records) / len(records),
        }
        return {self.metric: found[self.metric], **found}

    def trivial(self, rows: Sequence[Mapping[str, object]]) -> Trivial:
        """See `Task`."""
        if self.metric == "exact_match":
            return Trivial(0.0, "an empty answer")
        return Trivial(-math.log(int(self._files.config.vocab_size)), "a guess among all tokens")


def _answered(example: Example) -> int:
    return sum(label != IGNORED for label in example.target)


def _without_end(ids: list[int], tokenizer: Tokenizer) -> list[int]:
    """A text that goes on: without the tokens that end one."""
    ends = {tokenizer.eos_token_id, tokenizer.sep_token_id} - {None}
    return without_ends({"input_ids": ids}, ends)["input_ids"]


def _cut(ids: list[int], most: int, kept: int) -> list[int]:
    """Ids without what is too long, their last `kept` ones in place."""
    return ids if len(ids) <= most else [*ids[: most - kept], *ids[-kept:]]


def build(section: TextToText) -> TextTask:
    """The task of a recipe's section.

    Raises:
        UserError: its files have no folder.
    """
    return TextTask(section, splits_of(section))
