"""`ptv2-scale fetch` on several hosts, and ranks that then train without a hub."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import datasets
import psutil
import pytest
import yaml
from cluster import Cluster
from fake_hub import Files, Hub, files_of
from hosted import Run, cmdline
from ranks import no_place
from slurm_cluster import SlurmCluster
from tiny import save_backbone, save_tokenizer

from ptv2_scale.cli import main
from ptv2_scale.launchers.fetch.everywhere import LostError, _fetched
from ptv2_scale.launchers.remote import Answer

Hosts = Callable[..., Cluster]
MODEL, DATA = "models/acme/tiny", "datasets/aps/super_glue"
TOKEN = "hf_verysecret"  # noqa: S105
CARD = """\
---
configs:
- config_name: cb
  data_files:
  - {split: train, path: cb/train.parquet}
  - {split: validation, path: cb/validation.parquet}
---
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = save_backbone("t5", tmp_path_factory.mktemp("model"))
    save_tokenizer(folder)
    return files_of(folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("data")
    label = datasets.ClassLabel(names=["entailment", "contradiction", "neutral"])
    text = datasets.Value("string")
    features = datasets.Features({"premise": text, "hypothesis": text, "label": label})
    files = {"README.md": CARD.encode()}
    for split, count in (("train", 18), ("validation", 6)):
        rows = [{"premise": f"w{n}", "hypothesis": "w3", "label": n % 3} for n in range(count)]
        path = folder / f"{split}.parquet"
        datasets.Dataset.from_list(rows, features=features).to_parquet(path)
        files[f"cb/{split}.parquet"] = path.read_bytes()
    return files


@pytest.fixture
def hosts(cluster: Hosts) -> Cluster:
    return cluster(2)


@pytest.fixture
def hub(hosts: Cluster, model: Files, data: Files) -> Iterator[Hub]:
    with Hub().serving(hosts.address(254)) as served:
        served.add(MODEL, model)
        served.add(DATA, data)
        yield served


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    sections = {
        "backbone": {"name": "acme/tiny", "dtype": "fp32"},
        "prompt": {"length": 4},
        "task": {"name": "superglue/cb", "max_length": 16},
        "train": {"steps": 1, "global_batch": 2, "micro_batch": 1, "head_only_baseline": False},
        "evaluate": {"every": 1, "micro_batch": 3},
    }
    path.write_text(yaml.safe_dump(sections))
    return path


@pytest.fixture
def home(hosts: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: Hub) -> Path:
    """Where each host has a cache for itself; this process knows no more of the hub than that.

    This process is offline, and so cannot ask for a commit; a process of its own can.
    """
    path = hosts.own / tmp_path.name
    for name, value in {
        "HF_HOME": str(path),
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
    }.items():
        monkeypatch.setenv(name, value)
    return path


def on(hosts: Cluster, *more: str) -> list[str]:
    return ["--hostfile", str(hosts.hostfile), "--ssh-config", str(hosts.ssh_config), *more]


def start(recipe: Path, options: list[str]) -> subprocess.Popen[str]:
    reported = {**no_place(), "HF_HUB_OFFLINE": "0", "HF_TOKEN": TOKEN}
    return subprocess.Popen(
        [sys.executable, "-m", "ptv2_scale", "fetch", str(recipe), *options],
        env=reported, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def running(hosts: Cluster) -> list[psutil.Process]:
    """The programs of a fetch, on whichever host."""
    return [
        one
        for one in psutil.process_iter()
        if "ptv2_scale.launchers.fetch" in cmdline(one) and one.status() != "zombie"
    ]


def wait_until(true: Callable[[], object], timeout: float = 40) -> None:
    until = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def table_of(text: str) -> list[list[str]]:
    """Host, what, commit and the last column of each line of the table."""
    lines = [re.split(r"  +", line) for line in text.splitlines()]
    return [[*line[:3], line[-1]] for line in lines if len(line) == 5]


def test_hosts_fetch_once_and_their_ranks_train_without_the_hub(
    hosts: Cluster, hub: Hub, recipe: Path, home: Path, tmp_path: Path, model: Files,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    hub.repositories[MODEL].token = TOKEN
    hub.slow = 0.6
    process = start(recipe, on(hosts))
    wait_until(lambda: len(hub.sent) > 4)
    assert running(hosts)
    assert not [one for one in psutil.process_iter() if TOKEN in " ".join(cmdline(one))]
    text = process.communicate(timeout=90)[0]
    assert process.returncode == 0, text
    assert TOKEN not in text
    commits = [hub.repositories[name].branches["main"] for name in (MODEL, DATA)]
    what = list(zip(("acme/tiny", "aps/super_glue (cb)"), commits, strict=True))
    rows = [[host, *one] for one in what for host in hosts.hosts]
    assert [line[:3] for line in table_of(text)] == rows
    assert f"backbone.revision={commits[0]}" in text
    wanted = sorted([*model, "README.md", "train.parquet", "validation.parquet"])
    for host in hosts.hosts:
        assert hub.downloads(host) == wanted
        of_model = [one for one in hub.requests if one.client == host and "acme" in one.path]
        assert {one.authorization for one in of_model} == {f"Bearer {TOKEN}"}
    hub.forget()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert main(["fetch", str(recipe), *on(hosts)]) == 0
    assert table_of(capsys.readouterr().out) == [[*row, "was there"] for row in rows]
    assert not [one for host in hosts.hosts for one in hub.downloads(host)]
    hub.repositories.clear()
    hub.forget()
    run = Run(tmp_path / "run", (str(recipe),))
    argv = ["env", "--unset=HF_HUB_OFFLINE", sys.executable, "-m", "ptv2_scale", "launch"]
    assert "on 2 ranks" in run.start([*argv, *run.arguments, *on(hosts)]).must_succeed()
    assert hub.requests == []


def test_a_launch_that_is_killed_ends_its_hosts_and_the_next_goes_on(
    hosts: Cluster, hub: Hub, recipe: Path, home: Path, model: Files
) -> None:
    hub.add(MODEL, {**model, "more.bin": b"", "extra.safetensors": bytes(4_000_000)})
    hub.slow = 0.1
    process = start(recipe, on(hosts, "task.name=demo"))
    extra = [(host, "extra.safetensors") for host in hosts.hosts]
    wait_until(lambda: all(hub.sent.get(one, 0) > 500_000 for one in extra))
    process.kill()
    process.communicate()
    wait_until(lambda: not running(hosts), 5)
    assert hosts.ssh(1, f"find {home} -name '*.incomplete'").stdout == ""
    hub.slow = 0
    hub.forget()
    assert main(["fetch", str(recipe), *on(hosts, "task.name=demo")]) == 0
    for host in hosts.hosts:
        fetched = hub.downloads(host)
        assert "extra.safetensors" in fetched
        assert not {"config.json", "tokenizer.json"} & {*fetched}


def test_a_branch_that_moved_between_two_hosts(
    hosts: Cluster, hub: Hub, recipe: Path, home: Path, model: Files, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    old = hub.repositories[MODEL].branches["main"]
    one, other = tmp_path / "one", tmp_path / "other"
    for path, host in zip((one, other), hosts.hosts, strict=True):
        path.write_text(f"{host} slots=1\n")
    ssh = ["--ssh-config", str(hosts.ssh_config)]
    command = ["fetch", str(recipe), "task.name=demo"]
    assert main([*command, "--hostfile", str(one), *ssh]) == 0
    new = hub.add(MODEL, {**model, "added.json": b"{}"})
    assert main([*command, "--hostfile", str(other), *ssh]) == 0
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main([*command, *on(hosts)]) == 2
    error = capsys.readouterr().err
    assert f"{hosts.hosts[0]}: {old}\n{hosts.hosts[1]}: {new}\n" in error
    assert f"backbone.revision={old}" in error
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    # The launching host has asked before the branch moved.
    monkeypatch.setattr("ptv2_scale.launchers.fetch.everywhere.commit_of", lambda item: old)
    assert main([*command, *on(hosts)]) == 0
    assert {line[2] for line in table_of(capsys.readouterr().out)} == {old}
    for number in (1, 2):
        ref = f"{home}/hub/models--acme--tiny/refs/main"
        assert hosts.ssh(number, f"cat {ref}").stdout == old


def test_hosts_that_refuse_and_hosts_that_are_not_there(
    hosts: Cluster, hub: Hub, recipe: Path, home: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    hub.repositories[MODEL].token = TOKEN
    assert main(["fetch", str(recipe), *on(hosts)]) == 2
    error = capsys.readouterr().err
    assert f"ptv2-scale: {', '.join(hosts.hosts)}: acme/tiny: is gated: accept its licence" in error
    nobody = tmp_path / "nobody"
    nobody.write_text(f"{hosts.address(253)} slots=1\n{hosts.hosts[0]} slots=1\n")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    options = ["--hostfile", str(nobody), "--ssh-config", str(hosts.ssh_config)]
    assert main(["fetch", str(recipe), *options]) == 3
    error = capsys.readouterr().err
    assert f"ptv2-scale: {hosts.address(253)}: it cannot be reached (ssh: connect to host" in error
    assert "Traceback" not in error


def test_last_words_of_a_host_are_shown_without_secrets() -> None:
    answer = Answer("n1", 1, b"", f"Traceback\n  a line\nValueError: {TOKEN}\n")
    with pytest.raises(LostError, match=r"^n1: ended with 1 \(ValueError: \*\*\*\)\."):
        list(_fetched({"n1": answer}, {"HF_TOKEN": TOKEN}))


def test_nothing_of_the_hub(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "demo"]) == 0
    assert capsys.readouterr().out == "demo: takes nothing from the hub\n"


def test_nodes_of_an_allocation_that_share_a_cache(
    slurm: SlurmCluster, recipe: Path, model: Files, tmp_path: Path
) -> None:
    with Hub().serving("127.0.0.1") as hub:
        commit = hub.add(MODEL, model)
        reported = {**no_place(), **slurm.environment, "HF_HUB_OFFLINE": "0"}
        reported |= {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url}
        argv = ["salloc", "--quiet", "--nodes=2", sys.executable, "-m", "ptv2_scale", "fetch"]
        made = subprocess.run(
            [*argv, str(recipe), "task.name=demo", "--slurm"], env=reported, check=False,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        rows = [[node, "acme/tiny", commit] for node in slurm.nodes]
        assert [line[:3] for line in table_of(made.stdout)] == rows
        assert hub.downloads("127.0.0.1") == sorted(model)


def test_outside_an_allocation(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, recipe: Path
) -> None:
    monkeypatch.delenv("SLURM_JOB_NODELIST", raising=False)
    assert main(["fetch", str(recipe), "--slurm"]) == 2
    assert "--slurm: not inside an allocation" in capsys.readouterr().err
