"""Small files of strangers: what is refused, and by which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import read_json, read_text, refuse_pointer

POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


def test_a_pointer_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(POINTER)
    for read in (refuse_pointer, read_json, lambda path: read_text(path, 1000, "a recipe")):
        with pytest.raises(UserError, match=r"config\.json: a Git LFS pointer.*`git lfs pull`"):
            read(path)


@pytest.mark.parametrize("content", ["", "v", "version", POINTER[1:], f"\n{POINTER}"])
def test_what_only_looks_like_one_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "text"
    path.write_text(content)
    refuse_pointer(path)
    assert read_text(path, 1000, "a text") == content
