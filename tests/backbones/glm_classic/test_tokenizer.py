"""Classic GLM's published tokenizers: ids that are publicly known, and sentencepiece itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import SentencePieceProcessor

from ptv2_scale.backbones.glm_classic.vocabularies import PieceTokens
from ptv2_scale.backbones.tokenizers import load_tokenizer
from ptv2_scale.runtime.errors import UserError

FILES = {
    "GLMGPT2Tokenizer": {"vocab.json": "gpt2-vocab.json", "merges.txt": "gpt2-merges.txt"},
    "GLMRobertaTokenizer": {"vocab.json": "roberta-vocab.json", "merges.txt": "roberta-merges.txt"},
    "GLMBertTokenizer": {"vocab.txt": "bert-base-uncased-vocab.txt"},
    "GLMChineseTokenizer": {"cog-pretrain.model": "cog-pretrain.model"},
}
# "Hello world" as the vocabularies' own tokenizers are documented to split it, between GLM's ends.
HELLO = {
    "GLMGPT2Tokenizer": [50259, 15496, 995, 50256],
    "GLMRobertaTokenizer": [0, 31414, 232, 2],
    "GLMBertTokenizer": [101, 7592, 2088, 102],
}
SPECIAL: dict[str, dict[str, int]] = {
    "GLMGPT2Tokenizer": {
        "<|endoftext|>": 50256, "<|startofpiece|>": 50257, "<|endofpiece|>": 50258, "[CLS]": 50259,
        "[MASK]": 50260, "[SEP]": 50261, "[UNK]": 50262, "[gMASK]": 50263, "[sMASK]": 50264,
    },
    "GLMRobertaTokenizer": {
        "<mask>": 50264, "<|startofpiece|>": 50265, "<|endofpiece|>": 50266,
    },
    "GLMBertTokenizer": {
        "[PAD]": 0, "[MASK]": 103, "<|startofpiece|>": 30522, "<|endofpiece|>": 30523,
    },
    "GLMChineseTokenizer": {
        "<|endoftext|>": 50000, "[SEP]": 50001, "[CLS]": 50002, "[MASK]": 50003,
        "<|startofpiece|>": 50006, "<|endofpiece|>": 50007, "[sMASK]": 50008, "[gMASK]": 50009,
    },
}  # fmt: skip
KINDS = tuple(FILES)
FolderOf = Callable[[str], Path]


@pytest.fixture
def published(material: Path, tmp_path: Path) -> FolderOf:
    """Makes a folder as published, whose own code must never run."""

    def make(kind: str) -> Path:
        folder = tmp_path / kind
        folder.mkdir()
        for name, source in FILES[kind].items():
            shutil.copyfile(material / "data" / "tokenizers" / "glm" / source, folder / name)
        code = {"AutoTokenizer": [f"tokenization_glm.{kind}", None]}
        settings = {"tokenizer_class": kind, "use_fast": False, "auto_map": code}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        (folder / "tokenization_glm.py").write_text("raise SystemExit('remote code ran')")
        return folder

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_are_at_the_published_ids(kind: str, published: FolderOf) -> None:
    tokenizer = load_tokenizer(published(kind), trust_remote_code=True)
    expected = SPECIAL[kind]
    found = {token: tokenizer.convert_tokens_to_ids(token) for token in expected}
    assert found == expected
    assert tokenizer.encode("".join(expected), add_special_tokens=False) == list(expected.values())
    masks = {place: token for token, place in expected.items() if "mask" in token.lower()}
    pad = {"GLMRobertaTokenizer": 1}.get(kind, min(expected.values()))
    start, end = expected["<|startofpiece|>"], expected["<|endofpiece|>"]
    assert PieceTokens.of(tokenizer) == PieceTokens(start, end, masks, pad)
    assert len(tokenizer) == max(expected.values()) + 1


@pytest.mark.parametrize("kind", HELLO)
def test_text_is_split_as_the_vocabulary_is_known_to(kind: str, published: FolderOf) -> None:
    tokenizer = load_tokenizer(published(kind), trust_remote_code=False)
    encoded = tokenizer("Hello world")
    assert dict(encoded) == {"input_ids": HELLO[kind], "attention_mask": [1] * 4}
    assert tokenizer.decode(HELLO[kind], skip_special_tokens=True).lower() == "hello world"


def test_chinese_is_the_sentencepiece_model_between_special_tokens(
    published: FolderOf,
) -> None:
    folder = published("GLMChineseTokenizer")
    pieces = SentencePieceProcessor(model_file=str(folder / "cog-pretrain.model"))
    tokenizer = load_tokenizer(folder, trust_remote_code=False)
    before, after = "凯旋门位于意大利米兰市古城堡旁。１８０７年\U0001f642", "纪念 Napoleon  而建"
    ids = tokenizer(f"{before}[gMASK]{after}")["input_ids"]
    assert ids == [50002, *pieces.encode(before), 50009, *pieces.encode(after), 50000]
    assert 0 in ids  # a character that the model does not know
    assert tokenizer.decode(pieces.encode(after)) == pieces.decode(pieces.encode(after))


@pytest.mark.parametrize(
    ("kind", "cls", "between", "end"),
    [
        ("GLMGPT2Tokenizer", 50259, [50261], 50256),
        ("GLMRobertaTokenizer", 0, [2, 2], 2),
        ("GLMBertTokenizer", 101, [102], 102),
        ("GLMChineseTokenizer", 50002, [50001], 50000),
    ],
)
def test_pairs_and_what_is_too_long(
    kind: str, cls: int, between: list[int], end: int, published: FolderOf
) -> None:
    tokenizer = load_tokenizer(published(kind), trust_remote_code=False)

    def plain(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    one, two = plain("A cat sat on the mat"), plain("yes")
    pair = tokenizer(["A cat sat on the mat"], ["yes"])["input_ids"]
    assert pair == [[cls, *one, *between, *two, end]]
    cut = tokenizer("A cat sat on the mat", truncation="longest_first", max_length=5)
    assert cut["input_ids"] == [cls, *one[-3:], end]


@pytest.mark.parametrize("kind", ["GLMGPT2Tokenizer", "GLMRobertaTokenizer"])
def test_a_bpe_mask_takes_the_space_on_its_left_only(kind: str, published: FolderOf) -> None:
    tokenizer = load_tokenizer(published(kind), trust_remote_code=False)
    before, after = (tokenizer.encode(text, add_special_tokens=False) for text in ("one", " two"))
    for place, mask in PieceTokens.of(tokenizer).masks.items():
        ids = tokenizer.encode(f"one {mask} two", add_special_tokens=False)
        assert ids == [*before, place, *after]


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_tokenizer_is_the_same(kind: str, published: FolderOf, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(published(kind), trust_remote_code=False)
    tokenizer.save_pretrained(tmp_path / "saved")
    again = load_tokenizer(tmp_path / "saved", trust_remote_code=False)
    text = f"It is {tokenizer.mask_token} here, 北京."
    options: dict[str, Any] = {"truncation": True, "max_length": 6}
    assert dict(again(text, "so", **options)) == dict(tokenizer(text, "so", **options))
    assert PieceTokens.of(again) == PieceTokens.of(tokenizer)


def test_the_folders_ids_and_names_are_taken(published: FolderOf) -> None:
    folder = published("GLMBertTokenizer")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"do_lower_case": False, "truncation_side": "right", "padding_side": "left"}
    settings["eos_token"] = {"content": "<|endofpiece|>", "lstrip": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    added = {"<|endofpiece|>": 30522, "<|startofpiece|>": 30523, "[gMASK]": 30524}
    (folder / "added_tokens.json").write_text(json.dumps(added))
    tokenizer = load_tokenizer(folder, trust_remote_code=False)
    assert {token: tokenizer.convert_tokens_to_ids(token) for token in added} == added
    assert tokenizer.eos_token_id == 30522
    assert PieceTokens.of(tokenizer).masks == {103: "[MASK]", 30524: "[gMASK]"}
    assert tokenizer("Hello hello", truncation=True, max_length=3)["input_ids"] == [101, 100, 102]
    padded = tokenizer(["hello hello", "hello"], padding=True)
    assert padded["input_ids"] == [[101, 7592, 7592, 102], [0, 101, 7592, 102]]
    assert padded["attention_mask"] == [[1, 1, 1, 1], [0, 1, 1, 1]]


@pytest.mark.parametrize("kind", ["GLMGPT2Tokenizer", "GLMChineseTokenizer"])
def test_other_spellings_of_special_tokens(kind: str, published: FolderOf) -> None:
    folder = published(kind)
    tokenizer = load_tokenizer(folder, trust_remote_code=False)
    pair = tokenizer("one", "two")["input_ids"]
    added = sorted(tokenizer.get_added_vocab().items(), key=lambda item: item[1])
    for spelling, expected in (("[sep]", pair), ("[UNUSED9]", [i for i in pair if i != pair[2]])):
        names = {spelling if token == "[SEP]" else token: place for token, place in added}
        (folder / "added_tokens.json").write_text(json.dumps(names))
        other = load_tokenizer(folder, trust_remote_code=False)
        assert other("one", "two")["input_ids"] == expected
        assert other.convert_tokens_to_ids(spelling) == pair[2]
        assert len(other) == len(tokenizer)
    del names["[MASK]"]
    (folder / "added_tokens.json").write_text(json.dumps(names))
    with pytest.raises(UserError, match=r"mask_token '\[MASK\]' is neither in the vocabulary nor"):
        load_tokenizer(folder, trust_remote_code=False)


@pytest.mark.parametrize("kind", ["GLMBertTokenizer", "GLMChineseTokenizer"])
def test_ids_that_do_not_fit_the_vocabulary_are_refused(kind: str, published: FolderOf) -> None:
    folder = published(kind)
    added = load_tokenizer(folder, trust_remote_code=False).get_added_vocab()
    (folder / "added_tokens.json").write_text(json.dumps({**added, "[NEW]": 60000}))
    with pytest.raises(UserError, match=r"added_tokens.json: '\[NEW\]' has id 60000"):
        load_tokenizer(folder, trust_remote_code=False)


def test_what_is_missing_is_named(published: FolderOf, tmp_path: Path) -> None:
    folder = published("GLMGPT2Tokenizer")
    (folder / "merges.txt").unlink()
    with pytest.raises(UserError, match=r"GLMGPT2Tokenizer needs the file 'merges\.txt'"):
        load_tokenizer(folder, trust_remote_code=False)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=r"empty: no tokenizer could be .*backbone\.tokenizer"):
        load_tokenizer(empty, trust_remote_code=False)


def test_other_folders_are_transformers_own(material: Path) -> None:
    tokenizer = load_tokenizer(material / "data" / "tokenizers" / "t5_fast", False)
    assert tokenizer("Hello world")["input_ids"] == [8774, 296, 1]  # as documented for T5
    with pytest.raises(UserError, match="not a classic GLM's"):
        PieceTokens.of(tokenizer)
