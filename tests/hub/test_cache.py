"""What is brought from a hub into a host's cache, what is found there, and what is said if not.

A host's program runs as a process of its own, against a hub that is a server here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from datasets.naming import camelcase_to_snakecase
from fake_hub import Hub, Repository
from huggingface_hub import constants
from ranks import CHECKOUT

from ptv2_scale.hub import CachedSnapshot, HubItem, cached_snapshot, data_sets
from ptv2_scale.hub.errors import UnreachableError, explained
from ptv2_scale.launchers.fetch.protocol import FetchRequest, Message
from ptv2_scale.runtime.errors import UserError

TINY = HubItem("model", "acme/tiny")
MODEL = "models/acme/tiny"
WEIGHTS = os.urandom(100_000)
FILES = {
    "config.json": b"{}",
    "tokenizer.json": b"[]",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": WEIGHTS,
    "README.md": b"read me",
    "onnx/model.bin": WEIGHTS,
}
NEEDED = ["config.json", "model.safetensors", "tokenizer.json"]
HERE = "127.0.0.1"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub().serving(HERE) as served:
        yield served


@dataclass(frozen=True)
class Host:
    """A host with a cache of its own."""

    home: Path
    hub: Hub

    def start(
        self, item: HubItem, commit: str | None = None, *before: str, **env: str
    ) -> subprocess.Popen[bytes]:
        question = self.home.with_name(f"{self.home.name}.json")
        question.write_bytes(FetchRequest(item, commit, {}).to_json())
        whole = {**os.environ, "HF_HOME": str(self.home), "HF_ENDPOINT": self.hub.url}
        whole |= {"HF_HUB_OFFLINE": "0", **env}
        argv = [*before, sys.executable, "-m", "ptv2_scale.launchers.fetch"]
        with question.open("rb") as stdin:
            return subprocess.Popen(
                argv, cwd=CHECKOUT, env=whole, stdin=stdin, stdout=-1, stderr=-1
            )

    def fetch(
        self, item: HubItem, commit: str | None = None, *before: str, **env: str
    ) -> list[Message]:
        out, err = self.start(item, commit, *before, **env).communicate(timeout=60)
        assert b"Traceback" not in err, err.decode()
        return [word for line in out.splitlines() if (word := Message.parse(line))]

    def has(self, item: HubItem, commit: str | None = None, **env: str) -> CachedSnapshot:
        last = self.fetch(item, commit, **env)[-1]
        assert last.fetched, last.reason
        return last.fetched.snapshot

    def refuses(self, item: HubItem, commit: str | None = None, **env: str) -> str:
        return self.fetch(item, commit, **env)[-1].reason


@pytest.fixture
def host(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """This process sees its cache."""
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    return Host(tmp_path / "home", hub)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.iterdir()}


def test_what_is_needed_comes_once(hub: Hub, host: Host) -> None:
    commit = hub.add(MODEL, FILES)
    assert cached_snapshot(TINY) is None
    words = host.fetch(TINY)
    assert hub.downloads(HERE) == NEEDED
    size = len(WEIGHTS) + 4
    assert (words[0].done, words[-2].done, {word.total for word in words[:-1]}) == (0, size, {size})
    assert words[-1].fetched
    assert not words[-1].fetched.was_there
    found = words[-1].fetched.snapshot
    assert (found.commit, found.size) == (commit, size)
    assert contents(found.folder) == {name: FILES[name] for name in NEEDED}
    assert cached_snapshot(TINY) == cached_snapshot(replace(TINY, revision=commit)) == found
    assert cached_snapshot(replace(TINY, revision="other")) is None
    hub.forget()
    again = host.fetch(TINY)[-1].fetched
    assert again
    assert again.was_there
    assert hub.downloads(HERE) == []


def test_code_comes_where_it_is_asked_for(hub: Hub, host: Host) -> None:
    hub.add(MODEL, {**FILES, "modeling_tiny.py": b"raise SystemExit", "onnx/code.py": b""})
    assert sorted(contents(host.has(TINY).folder)) == NEEDED
    found = host.has(replace(TINY, code=True))
    assert sorted(contents(found.folder)) == sorted([*NEEDED, "modeling_tiny.py"])
    assert hub.downloads(HERE).count("model.safetensors") == 1


def test_pickled_weights_where_there_are_no_others(hub: Hub, host: Host) -> None:
    hub.add(MODEL, {name: FILES[name] for name in ("config.json", "pytorch_model.bin")})
    assert sorted(contents(host.has(TINY).folder)) == ["config.json", "pytorch_model.bin"]


def test_a_pinned_commit_is_what_ranks_find_under_the_branch(hub: Hub, host: Host) -> None:
    first = hub.add(MODEL, FILES)
    second = hub.add(MODEL, {**FILES, "config.json": b'{"new": 1}'})
    assert host.has(TINY, first).commit == first
    found = cached_snapshot(TINY)
    assert found
    assert found.commit == first
    assert host.has(TINY).commit == second
    found = cached_snapshot(TINY)
    assert found
    assert found.folder.joinpath("config.json").read_bytes() == b'{"new": 1}'


@pytest.mark.parametrize("listed", [True, False])
def test_a_copy_without_a_shard_is_none(hub: Hub, host: Host, listed: bool) -> None:
    """Also in a cache that does not know what the hub once listed."""
    index = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})
    shards = {f"model-{number}.safetensors": os.urandom(10) for number in (1, 2)}
    hub.add(MODEL, {"config.json": b"{}", "model.safetensors.index.json": index.encode(), **shards})
    folder = host.has(TINY).folder
    assert cached_snapshot(TINY)
    if not listed:
        for path in folder.parents[1].joinpath("trees").iterdir():
            path.unlink()
    folder.joinpath("model-2.safetensors").resolve().unlink()
    from huggingface_hub import _tree_cache

    _tree_cache._IN_MEMORY_TREE_CACHE.clear()
    assert cached_snapshot(TINY) is None
    assert "does not have all of it" in host.refuses(TINY, HF_HUB_OFFLINE="1")
    hub.forget()
    host.has(TINY)
    assert hub.downloads(HERE) == ["model-2.safetensors"]


def shards(hub: Hub) -> None:
    """Two weight files: one is soon there, the other takes five seconds."""
    weights = {"model-1.safetensors": os.urandom(90_000), "model-2.safetensors": bytes(6_000_000)}
    hub.add(MODEL, {"config.json": b"{}", **weights})
    hub.slow = 0.05


def wait_for_the_first(hub: Hub, host: Host) -> None:
    until = time.monotonic() + 30
    while not list(host.home.glob("hub/*/snapshots/*/model-1.safetensors")):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_killed_fetch_goes_on_with_the_files_that_lack(hub: Hub, host: Host) -> None:
    shards(hub)
    process = host.start(TINY)
    wait_for_the_first(hub, host)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert cached_snapshot(TINY) is None
    hub.slow = 0
    hub.forget()
    found = host.has(TINY)
    assert hub.downloads(HERE) == ["model-2.safetensors"]
    assert (found.folder / "model-2.safetensors").read_bytes() == bytes(6_000_000)


def test_a_fetch_to_which_nobody_listens_ends_and_leaves_no_parts(hub: Hub, host: Host) -> None:
    shards(hub)
    process = host.start(TINY)
    wait_for_the_first(hub, host)
    assert list(host.home.glob("hub/*/blobs/*.incomplete"))
    assert process.stdout
    process.stdout.close()
    began = time.monotonic()
    assert process.wait(10) == 2
    assert time.monotonic() - began < 3
    assert not list(host.home.glob("hub/*/blobs/*.incomplete"))


def test_a_token_is_asked_for_and_given(hub: Hub, host: Host) -> None:
    hub.add(MODEL, FILES)
    hub.repositories[MODEL].token = "hf_verysecret"  # noqa: S105
    assert "is gated: accept its licence" in host.refuses(TINY)
    assert "set HF_TOKEN" in host.refuses(TINY, HF_TOKEN="hf_wrong")  # noqa: S106
    hub.repositories[MODEL].code = ""
    assert "(401)" in host.refuses(TINY)
    assert host.has(TINY, HF_TOKEN="hf_verysecret")  # noqa: S106


def test_what_the_hub_does_not_have(hub: Hub, host: Host) -> None:
    hub.add(MODEL, FILES)
    host.has(TINY)
    reason = host.refuses(HubItem("model", "acme/tinny"))
    assert "acme/tinny: the hub has nothing of this name" in reason
    assert "Did you mean 'acme/tiny'?" in reason
    assert "no such branch, tag or commit" in host.refuses(replace(TINY, revision="nope"))
    assert "not a name that the hub could have" in host.refuses(HubItem("model", "a..b"))


def test_no_network(hub: Hub, host: Host) -> None:
    hub.add(MODEL, FILES)
    nobody = "http://127.0.0.1:9"
    assert "cannot be reached" in host.refuses(TINY, HF_ENDPOINT=nobody)
    commit = host.has(TINY).commit
    assert host.has(TINY, HF_ENDPOINT=nobody).commit == commit
    assert "127.0.0.1" not in host.refuses(replace(TINY, revision="v1"), HF_ENDPOINT=nobody)


@pytest.mark.parametrize("understates", [False, True])
def test_a_full_disk(hub: Hub, host: Host, understates: bool) -> None:
    """Found before the download, or in its middle, where the hub's list was wrong."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("mounting needs root")
    hub.add(MODEL, {"config.json": b"{}", "model.safetensors": bytes(3 << 20)})
    hub.understates = understates
    host.home.mkdir()
    small = 'mount -t tmpfs -o size=2m none "$HF_HOME" && exec "$0" "$@"'
    words = host.fetch(TINY, None, "unshare", "--mount", "sh", "-c", small)
    assert f"does not fit on the disk of the cache ({host.home})" in words[-1].reason
    assert ("model.safetensors" in hub.downloads(HERE)) is understates


def test_reasons_quote_no_addresses() -> None:
    with (
        pytest.raises(UserError) as caught,
        explained("acme/tiny"),
    ):
        raise RuntimeError("https://me:verysecret@mirror")
    assert "verysecret" not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(UnreachableError), explained("acme/tiny"):
        raise ConnectionError("https://me:verysecret@mirror")


def copies(cache: Path, dates: Mapping[str, float]) -> dict[str, Path]:
    """Prepared copies as `datasets` leaves them, changed on these dates."""
    made = {}
    for name, date in dates.items():
        path = cache / "datasets" / "acme___some_set" / "cb" / "0.0.0" / name
        path.mkdir(parents=True)
        (path / "dataset_info.json").write_text('{"config_name": "cb"}')
        os.utime(path, (date, date))
        made[name] = path
    return made


def test_the_copy_of_a_data_set_that_ranks_take(host: Host) -> None:
    found = copies(host.home, {"a": 100.0, "b": 300.0, "c": 200.0})
    assert data_sets.offline_copy("acme/SomeSet", "cb") == found["b"]
    assert data_sets.offline_copy("acme/SomeSet", "rte") is None
    item = HubItem("dataset", "acme/SomeSet", subset="cb")
    assert cached_snapshot(item) == CachedSnapshot.of(found["b"])
    assert cached_snapshot(replace(item, revision="a")) is None
    data_sets.make_newest("acme/SomeSet", "cb", found["a"])
    assert cached_snapshot(replace(item, revision="a")) == CachedSnapshot.of(found["a"])
    found["b"].with_name("d.incomplete").mkdir()
    assert cached_snapshot(item) is None
    with pytest.raises(UserError, match="cb: holds a copy that was not finished"):
        data_sets.make_newest("acme/SomeSet", "cb", found["a"])


@pytest.mark.parametrize("name", ["super_glue", "SomeSet", "HTMLSet2Go", "a-bC", "GLUE"])
def test_names_of_data_sets_are_as_datasets_makes_them(name: str) -> None:
    assert data_sets._snake_case(name) == camelcase_to_snakecase(name)


def test_the_error_of_a_server_is_no_traceback(hub: Hub, host: Host) -> None:
    hub.repositories[MODEL] = Repository()
    assert "no such branch" in host.refuses(TINY)
