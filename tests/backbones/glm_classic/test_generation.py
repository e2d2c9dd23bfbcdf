"""Blanks filled with a cache, against reading everything again for each token."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from glm_words import END, G_MASK, MASK, S_MASK, START, VOCABULARY, words_tokenizer
from torch import Tensor

from ptv2_scale.backbones.attention import BoundPrefix
from ptv2_scale.backbones.attention_routes import IMPLEMENTATIONS
from ptv2_scale.backbones.binding import bind
from ptv2_scale.backbones.families.glm_classic import GLM_CLASSIC
from ptv2_scale.backbones.glm_classic.configuration import ClassicGlmConfig
from ptv2_scale.backbones.glm_classic.generation import fill_blank, generate
from ptv2_scale.backbones.glm_classic.inputs import (
    blank_inputs,
    choice_inputs,
    choice_scores,
    text_inputs,
)
from ptv2_scale.backbones.glm_classic.model import ClassicGlm
from ptv2_scale.backbones.glm_classic.vocabularies import PieceTokens
from ptv2_scale.backbones.sampling import Sampling
from ptv2_scale.config import Prefix
from ptv2_scale.methods.prefix.encoder import PrefixEntry
from ptv2_scale.methods.prefix.method import PrefixMethod
from ptv2_scale.model.prompted import PromptedModel
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.heads import LinearHead

PREFIX = 6
LIMIT = 7
TEXTS = [
    "w1 w2 [MASK] w3 w4 w5 [sMASK] w6",
    "w7 [gMASK]",
    "[MASK] w8 w9 w10 [MASK] w11 [MASK] w12 w13",
    "w14 w15 w16 w17 [sMASK]",
]


@pytest.fixture(scope="module")
def model() -> PromptedModel:
    """A random GLM whose embedding has ten rows more than the tokenizer has tokens."""
    torch.manual_seed(5)
    config = ClassicGlmConfig(
        num_layers=3, vocab_size=VOCABULARY + 10, hidden_size=32, num_attention_heads=4,
        max_sequence_length=24,
    )  # fmt: skip
    backbone = ClassicGlm._from_config(config, attn_implementation=IMPLEMENTATIONS["sdpa"])
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.3)
        backbone.word_embeddings.weight[END] *= 2  # so that some pieces end early
        backbone.word_embeddings.weight[VOCABULARY:] *= 3  # would often be the likeliest
    section = Prefix(length=PREFIX, dropout=0.0)
    method = PrefixMethod(section, GLM_CLASSIC, config)
    torch.manual_seed(6)
    return PromptedModel(backbone, GLM_CLASSIC, LinearHead(32, 2, "first"), method).eval()


def read_again(
    model: Any, ids: list[int], pieces: list[list[int]], prefix: BoundPrefix | None
) -> Tensor:
    """Logits behind a text and the pieces of its first blanks, all read in one forward pass."""
    places = [place for place, token in enumerate(ids) if token in (MASK, S_MASK, G_MASK)]
    tokens, positions, blocks = list(ids), list(range(len(ids))), [0] * len(ids)
    for place, piece in zip(places, pieces, strict=False):
        tokens += [START, *piece]
        positions += [place] * (1 + len(piece))
        blocks += range(1, 2 + len(piece))
    with torch.no_grad(), bind(prefix):
        return model.backbone(
            input_ids=torch.tensor([tokens]),
            position_ids=torch.tensor([[positions, blocks]]),
            attention_mask=torch.tensor([len(ids)]),
        ).logits[0, -1, :VOCABULARY]


def filled_again(model: Any, text: str, prefix: BoundPrefix | None, choose: Any) -> list[list[int]]:
    ids = words_tokenizer()(text)["input_ids"]
    pieces: list[list[int]] = []
    for _ in range(text.count("MASK]")):
        pieces.append([])
        while len(pieces[-1]) < LIMIT:
            token = choose(read_again(model, ids, pieces, prefix))
            if token == END:
                break
            pieces[-1].append(token)
    return pieces


def own_prefix(model: PromptedModel, prompted: bool) -> BoundPrefix | None:
    with torch.no_grad():
        return model.adapter.entry().bound if prompted else None


def likeliest(logits: Tensor) -> int:
    return int(logits.argmax())


def run(model: Any, texts: list[str], side: str = "right", **options: Any) -> list[list[list[int]]]:
    tokenizer = words_tokenizer(side)
    inputs = text_inputs(tokenizer, texts)
    options = {"vocabulary": VOCABULARY, "max_new_tokens": LIMIT, **options}
    return generate(model, PieceTokens.of(tokenizer), inputs, **options)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("prompted", [True, False])
def test_greedy_with_a_cache_is_reading_all_again(
    model: PromptedModel, prompted: bool, side: str
) -> None:
    prefix = own_prefix(model, prompted)
    found = run(model if prompted else model.backbone, TEXTS, side)
    assert found == [filled_again(model, text, prefix, likeliest) for text in TEXTS]
    lengths = [len(piece) for row in found for piece in row]
    assert len({token for row in found for piece in row for token in piece}) > 3
    assert min(lengths) < LIMIT == max(lengths)  # some end by themselves, some at the limit


def test_the_prefix_is_in_front_exactly_once(
    model: PromptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: dict[Any, list[int]] = {}
    encoder = model.adapter
    prefix = BoundPrefix(encoder().detach(), encoder.slots, key_lengths=lengths)
    monkeypatch.setattr(model, "entry", lambda: PrefixEntry(prefix))
    ((piece,),) = run(model, ["w1 w2 [MASK]"])
    # [CLS] w1 w2 [MASK] [EOS], then a token each time
    passes = [PREFIX + 5 + step for step in range(1 + min(len(piece) + 1, LIMIT))]
    assert lengths == dict.fromkeys(encoder.slots, passes)
    assert run(model, TEXTS) != run(model.backbone, TEXTS)


def drawn(settings: Sampling, generator: torch.Generator, logits: Tensor) -> int:
    """One draw as the settings are defined, in the plainest way."""
    logits = logits / settings.temperature
    if settings.top_k is not None:
        logits[logits < logits.sort().values[-settings.top_k]] = -torch.inf
    order = logits.argsort(descending=True)
    before = logits[order].softmax(0).cumsum(0) - logits[order].softmax(0)
    logits[order[before >= settings.top_p]] = -torch.inf
    return int(torch.multinomial(logits.softmax(0), 1, generator=generator))


@pytest.mark.parametrize(
    "settings",
    [
        Sampling(temperature=0.7, seed=3),
        Sampling(top_k=4, temperature=3.0, seed=4),
        Sampling(top_p=0.8, temperature=2.0, seed=5),
        Sampling(top_k=9, top_p=0.6, temperature=4.0, seed=6),
    ],
)
def test_sampling_with_a_cache_is_reading_all_again(
    model: PromptedModel, settings: Sampling
) -> None:
    prefix = own_prefix(model, True)
    for text in TEXTS:
        generator = torch.Generator().manual_seed(settings.seed)
        expected = filled_again(model, text, prefix, partial(drawn, settings, generator))
        assert run(model, [text], sampling=settings) == [expected]
    assert run(model, TEXTS, sampling=settings) == run(model, TEXTS, sampling=settings)


def test_text_in_and_text_out(model: PromptedModel) -> None:
    tokenizer = words_tokenizer()
    found = fill_blank(model, tokenizer, TEXTS, max_new_tokens=LIMIT)
    expected = [[tokenizer.decode(ids) for ids in row] for row in run(model, TEXTS)]
    shown = [[" ".join(w for w in t.split() if w[0] == "w") for t in row] for row in expected]
    assert found == shown
    assert fill_blank(model, tokenizer, TEXTS[0], max_new_tokens=LIMIT) == found[:1]


def test_likelihood_of_pieces_is_what_generation_sees(model: PromptedModel) -> None:
    """The labels of `blank_inputs` under the model, against one token after the other."""
    texts, pieces = TEXTS[:2], [["w1 w2", "w3"], ["w4 w5 w6"]]
    tokenizer = words_tokenizer()
    batch = blank_inputs(tokenizer, texts, pieces)
    labels = batch.pop("labels")
    prefix = own_prefix(model, True)
    with torch.no_grad(), bind(prefix):
        logs = model.backbone(**batch).logits[..., :VOCABULARY]
    for row, text in enumerate(texts):
        read = tokenizer(text)["input_ids"]
        before = [tokenizer(piece, add_special_tokens=False)["input_ids"] for piece in pieces[row]]
        expected = [
            read_again(model, read, [*before[:number], piece[:count]], prefix)
            for number, piece in enumerate(before)
            for count in range(len(piece) + 1)
        ]
        assert labels[row][labels[row] >= 0].tolist() == [
            t for piece in before for t in (*piece, END)
        ]
        found = logs[row][labels[row] >= 0]
        torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=2e-5)


def test_choices_side_by_side_score_as_each_alone(model: PromptedModel) -> None:
    tokenizer = words_tokenizer()
    texts = ["w1 [MASK] w2 w3", "[MASK] w4"]
    choices = [["w5 w6 w7", "w8", "w9 w5"], ["w10", "w11 w12"]]
    batch = choice_inputs(tokenizer, texts, choices)
    reads = {name: batch[name] for name in ("input_ids", "position_ids", "attention_mask")}
    prefix = own_prefix(model, True)
    with torch.no_grad(), bind(prefix):
        scores = choice_scores(model.backbone(**reads).logits[..., :VOCABULARY], batch)
    for row, text in enumerate(texts):
        read = tokenizer(text)["input_ids"]
        for column, choice in enumerate(choices[row]):
            ids = tokenizer(choice, add_special_tokens=False)["input_ids"]
            alone = sum(
                float(read_again(model, read, [ids[:count]], prefix).log_softmax(0)[token])
                for count, token in enumerate(ids)
            )
            assert float(scores[row, column]) == pytest.approx(alone, abs=1e-4)
    assert scores[1, 2] == -torch.inf


def test_what_cannot_be_filled_is_said(model: PromptedModel) -> None:
    tokenizer = words_tokenizer()
    wrong: dict[str, Any]
    with pytest.raises(UserError, match=r"text 1: has no blank .*\[MASK\], \[sMASK\], \[gMASK\]"):
        fill_blank(model, tokenizer, ["[MASK]", "w1"], max_new_tokens=3)
    with pytest.raises(UserError, match="25 tokens is longer than .* room for 24"):
        fill_blank(model, tokenizer, "[MASK] " + "w1 " * 22, max_new_tokens=3)
    with pytest.raises(UserError, match="max_new_tokens: found 24, allowed are 1 to 23"):
        fill_blank(model, tokenizer, "[MASK]", max_new_tokens=24)
    for wrong in ({"temperature": 0.0}, {"top_k": 0}, {"top_p": 1.5}):
        with pytest.raises(UserError, match="allowed are a temperature above 0"):
            Sampling(**wrong)
    # The prefix takes no room in the position tables.
    text = "[MASK] " + "w1 " * 21
    assert len(tokenizer(text)["input_ids"]) == 24
    assert len(fill_blank(model, tokenizer, text, max_new_tokens=23)[0]) == 1


def test_words_without_a_row_in_the_embedding_are_said(model: PromptedModel) -> None:
    tokenizer = words_tokenizer()
    tokenizer.add_tokens([f"new{number}" for number in range(12)])
    assert len(fill_blank(model, tokenizer, ["w1 new9 [MASK]"], max_new_tokens=LIMIT)) == 1
    with pytest.raises(UserError, match=r"text 1: 'new10' has the id \d+, and the backbone's"):
        fill_blank(model, tokenizer, ["w1 new9 [MASK]", "new10 [MASK]"])
