"""Where a test lies: in its room's folder, called after what it tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import ranks

PACKAGE, TESTS = ranks.CHECKOUT / "ptv2_scale", ranks.CHECKOUT / "tests"
# Tests of no room: of everything at once, of faults, of input that nobody wrote by hand.
OF_ALL = ("reliability", "hostile", "fixtures", "support")
# What several modules of a room do together.
SEVERAL_MODULES = {
    "checkpoint/test_memory.py": "bytes that a save, a resume and an export take",
    "cli/test_interrupted.py": "predict and generate, killed and given again",
    "cli/test_json.py": "--json of several commands",
    "engine/test_choice_run.py": "rows with candidates under ZeRO-3, from training to answers",
    "engine/test_filled_by_tokens.py": "micro-batches of so many tokens, on any number of ranks",
    "engine/test_glm_classic_run.py": "classic GLM under ZeRO-3",
    "engine/test_int8_run.py": "backbones in 8 bits, from gradients to answers",
    "engine/test_parity.py": "gradients under ZeRO-3 against plain PyTorch",
    "engine/test_private_runs.py": "hosts without a shared run directory",
    "engine/test_recipe_runs.py": "shipped recipes on tiny backbones",
    "engine/test_resume.py": "a run that was killed, to the bit",
    "engine/test_text_run.py": "text that answers text on two ranks",
    "engine/test_verbalizer_run.py": "a verbalizer on two ranks, killed and resumed",
    "engine/test_several_tasks.py": "runs of several tasks",
    "engine/test_time_limit.py": "a limit on time that leaves none for a step",
    "methods/prefix/test_gate.py": "gates of a prefix, in the encoder and in attention",
    "launchers/test_bytes_between_hosts.py": "what goes over the network",
    "launchers/test_many_hosts.py": "a run on four hosts",
    "launchers/test_node_launchers.py": "torchrun, accelerate and deepspeed, each on its own",
    "launchers/test_slurm_jobs.py": "jobs in a real Slurm",
    "sweep/test_kills.py": "sweeps of real ranks: killed, shared, over hosts, with runs that break",
}


def mirrored() -> list[Path]:
    found = (path.relative_to(TESTS) for path in TESTS.rglob("test_*.py"))
    return sorted(path for path in found if path.parent.parts and path.parts[0] not in OF_ALL)


@pytest.mark.parametrize("path", mirrored(), ids=str)
def test_a_test_is_called_after_what_it_tests(path: Path) -> None:
    room, name = PACKAGE / path.parent, path.stem.removeprefix("test_")
    assert room.is_dir()
    module = (room / f"{name}.py").is_file() or (room / name).is_dir() or room.name == name
    assert module or path.as_posix() in SEVERAL_MODULES


def test_what_is_listed_is_there() -> None:
    assert [name for name in SEVERAL_MODULES if not (TESTS / name).is_file()] == []


@pytest.mark.parametrize(
    "room", sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py")), ids=str
)
def test_every_room_has_its_tests(room: str) -> None:
    assert list((TESTS / room).rglob("test_*.py"))
