"""Conversations, against transformers' own rendering and its own mask of an assistant's words."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from ptv2_scale.data.rows import PlacedRow
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.tasks.chat import Chats

TURN = (
    "{% for m in messages %}<|im_start|> {{ m.role }} "
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}END{% endgeneration %}"
    "{% else %}{{ m.content }} <|im_end|>{% endif %} NL {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
)
CLOSED, OPEN = TURN.replace("END", " <|im_end|>"), TURN.replace("END", "")
# As Qwen3's: thoughts of earlier turns are taken out once more follows.
FORGETFUL = CLOSED.replace(
    "{{ m.content }} <|im_end|>{% endgeneration",
    "{{ 'w9 ' if loop.last }}{{ m.content }} <|im_end|>{% endgeneration",
)
PICKY = "{{ raise_exception('roles must alternate') if messages[0].role == 'system' }}" + CLOSED


def tokenizer(template: str | None = CLOSED) -> PreTrainedTokenizerFast:
    special = ["<pad>", "<|im_start|>", "<|im_end|>", "<unk>", "NL"]
    names = [*special, "user", "assistant", "system", *(f"w{n}" for n in range(20))]
    words = Tokenizer(WordLevel({word: n for n, word in enumerate(names)}, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    words.add_special_tokens([AddedToken(name) for name in special[:4]])
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        eos_token="<|im_end|>",
        unk_token="<unk>",
        chat_template=template,
    )


def conversation(*contents: str, roles: str = "ua") -> list[dict[str, str]]:
    names = {"u": "user", "a": "assistant", "s": "system"}
    return [
        {"role": names[roles[number % len(roles)]], "content": content}
        for number, content in enumerate(contents)
    ]


TALK = conversation("w1 w2", "w3", "w4", "w5 w6")
END = 2


def masked(found: Any, messages: Any) -> tuple[list[int], list[int]]:
    """All tokens of a conversation, and those that an assistant says, by transformers."""
    made = found.apply_chat_template(messages, return_assistant_tokens_mask=True)
    mask = [bool(one) for one in made["assistant_masks"]]
    return made["input_ids"], [
        i if m else -100 for i, m in zip(made["input_ids"], mask, strict=True)
    ]


@pytest.mark.parametrize("messages", [TALK, conversation("w7", "w1", "w2", roles="sua"), TALK[:2]])
def test_all_turns_are_those_that_transformers_marks(messages: Any) -> None:
    found = tokenizer()
    (passage,) = Chats("talk").passages([{"talk": messages}], found, END)
    ids, labels = masked(found, messages)
    assert ids[-1] == found.convert_tokens_to_ids("NL")  # behind the end: neither read nor said
    assert [*passage.prompt, *passage.answer] == ids[:-1]
    assert [*[-100] * len(passage.prompt), *passage.labels] == labels[:-1]
    assert passage.labels[-1] == END


def test_the_last_turn_alone() -> None:
    found = tokenizer()
    (passage,) = Chats("talk", "last").passages([{"talk": TALK}], found, END)
    asked = found.apply_chat_template(TALK[:-1], add_generation_prompt=True, return_dict=False)
    assert passage.prompt == asked
    assert found.decode(passage.answer) == "w5 w6 <|im_end|>"
    assert passage.labels == passage.answer


def test_what_is_asked_is_what_stood_before_the_answer() -> None:
    found, chats = tokenizer(), Chats("talk")
    asked = found.apply_chat_template(TALK[:-1], add_generation_prompt=True, return_dict=False)
    rows = [{"talk": TALK}, {"talk": TALK[:-1]}]
    assert chats.prompts(rows, found) == [asked, asked]
    assert chats.answer(rows[0], 1) == "w5 w6"
    assert chats.answer(rows[1], 2) == "w3"  # the last that the assistant has said
    # What follows an assistant's last words is not learned.
    both = chats.passages([{"talk": TALK[:2]}, {"talk": TALK[:3]}], found, END)
    assert both[0] == both[1]


def test_a_turn_that_a_template_leaves_open_is_closed() -> None:
    found = tokenizer(OPEN)
    (passage,) = Chats("talk").passages([{"talk": TALK[:2]}], found, END)
    assert found.convert_ids_to_tokens(passage.answer) == ["w3", "NL", "<|im_end|>"]
    assert passage.labels == passage.answer


def test_a_template_that_rewrites_earlier_turns() -> None:
    found, row = tokenizer(FORGETFUL), PlacedRow({"talk": TALK}, "train.jsonl:3")
    with pytest.raises(UserError, match=r"train.jsonl:3: .* message 2 .*task.turns: last"):
        Chats("talk").passages([row], found, END)
    (passage,) = Chats("talk", "last").passages([row], found, END)
    assert found.decode(passage.answer) == "w9 w5 w6 <|im_end|>"


@pytest.mark.parametrize(
    ("template", "talk", "message"),
    [
        (None, TALK, "no chat template"),
        (PICKY, conversation("w7", "w1", "w2", roles="sua"), "a.jsonl:3: .*roles must alternate"),
        (CLOSED, TALK[:1], "a.jsonl:3, column 'talk': no message has the role 'assistant'"),
        (CLOSED, TALK[1:], "the first message is the assistant's"),
        (CLOSED, "w1", "found 'w1', expected a list of messages"),
        (CLOSED, [], "expected a list of messages"),
        (CLOSED, [{"role": "user"}], "message 1: content is None"),
        (CLOSED, [*TALK[:1], "w1"], "message 2: found 'w1'"),
    ],
)
def test_what_is_no_conversation(template: str | None, talk: Any, message: str) -> None:
    row = PlacedRow({"talk": talk}, "a.jsonl:3")
    with pytest.raises(UserError, match=message):
        Chats("talk").passages([row], tokenizer(template), END)


def test_a_row_without_the_column() -> None:
    with pytest.raises(UserError, match="no column 'talk'"):
        Chats("talk").check_row({"messages": TALK}, 1)
