"""A prediction that is interrupted and goes on gives the same bits as one that is not."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tiny import WORDS, write_recipe
from untrained import export_untrained

from ptv2_scale import Predictor
from ptv2_scale.backbones.sampling import Sampling
from ptv2_scale.inference.exported import Export, open_export
from ptv2_scale.inference.kept_answers import KeptAnswers, prediction_identity
from ptv2_scale.inference.writing import GenerationOptions
from ptv2_scale.model.decoding import Beams
from ptv2_scale.runtime.errors import UserError

# Batches of one row: a part has 32 of them.
ROWS: list[dict[str, Any]] = [
    {"text": " ".join(WORDS[number % 40 : number % 40 + 1 + number % 9])} for number in range(70)
]


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("job")
    recipe = write_recipe(folder, "bert", evaluate={"micro_batch": 1})
    return [
        export_untrained(recipe, folder / name, f"train.seed={seed}")
        for seed, name in enumerate(("one", "two"))
    ]


def opened(exports: list[Path]) -> list[Export]:
    return [open_export(folder) for folder in exports]


def test_an_interrupted_prediction_goes_on_to_the_same_bits(
    exports: list[Path], tmp_path: Path
) -> None:
    predictor, path = Predictor.load(*exports), tmp_path / "kept"
    identity = prediction_identity(opened(exports), ROWS)
    whole: dict[str, list[Any]] = {"one": [], "two": []}
    sizes = []
    for part in predictor.predict_parts(ROWS):
        sizes.append(len(part["one"]))
        for name, records in part.items():
            whole[name] += records
    assert sizes == [32, 32, 6]
    for name in whole:  # batches of one row have no padding: alone a row is answered alike
        assert whole[name] == predictor.predict(ROWS, name)

    with closing(KeptAnswers(path, identity, "--output x")) as kept:
        kept.add(next(predictor.predict_parts(ROWS)))
        kept.add(next(predictor.predict_parts(ROWS, 32)))
    # As after a kill -9 in the middle of a line.
    path.write_bytes(path.read_bytes()[:-20])
    with closing(KeptAnswers(path, identity, "--output x")) as kept:
        assert kept.done == 32
        for part in predictor.predict_parts(ROWS, kept.done):
            kept.add(part)
        assert kept.done == len(ROWS)
        assert kept.answers() == whole
        kept.remove()
    assert not path.exists()


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A file with the answer to one row."""
    with closing(KeptAnswers(tmp_path / "kept", "mine", "--output x")) as file:
        file.add({"one": [{"label": "é"}]})
    return tmp_path / "kept"


def test_answers_of_another_prediction_are_refused_and_left(kept: Path) -> None:
    before = kept.read_bytes()
    with pytest.raises(UserError, match="kept has the answers of an interrupted prediction"):
        KeptAnswers(kept, "another's", "--output x")
    assert kept.read_bytes() == before


def test_two_processes_do_not_share_a_file(kept: Path) -> None:
    with (
        closing(KeptAnswers(kept, "mine", "--output x")) as file,
        pytest.raises(UserError, match="--output x: another process is at work on it"),
    ):
        KeptAnswers(kept, "mine", "--output x")
    assert file.done == 1


@pytest.mark.parametrize("name", ["no/such/folder", "x" * 256, "file/out", "linked"])
def test_a_place_that_cannot_be_written_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "linked").symlink_to(tmp_path / "file")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match="--output x: cannot be written"):
        KeptAnswers(tmp_path / name, "mine", "--output x")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("left", [b"", b"half a li", b'{"text": "a"}\n{"text": "b"}\n'])
def test_what_is_no_ones_answers_is_begun_anew(left: bytes, tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(left)
    with closing(KeptAnswers(tmp_path / "kept", "mine", "--output x")) as file:
        assert (file.done, file.answers()) == (0, {})
    assert not (tmp_path / "kept").exists()  # nothing was answered


def test_the_identity_tells_exports_batches_rows_order_and_settings_apart(
    exports: list[Path],
) -> None:
    one, two = opened(exports)
    (larger,) = [open_export(exports[0], None, ["evaluate.micro_batch=2"])]
    greedy, drawn = GenerationOptions(), GenerationOptions(None, Sampling(seed=1))
    known = [
        prediction_identity(*case)
        for case in (
            ([one], ROWS), ([two], ROWS), ([one, two], ROWS), ([larger], ROWS),
            ([one], ROWS[:-1]), ([one], ROWS[::-1]),
            ([one], ROWS, greedy), ([one], ROWS, GenerationOptions(5)), ([one], ROWS, drawn),
            ([one], ROWS, GenerationOptions(None, Sampling(seed=2))),
            ([one], ROWS, GenerationOptions(None, Beams(2))),
        )
    ]  # fmt: skip
    assert len(set(known)) == len(known)
    assert prediction_identity([open_export(exports[0])], list(ROWS)) == known[0]
