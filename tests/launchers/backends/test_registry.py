"""Backends by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from launching import request

from ptv2_scale.launchers.backends.registry import BACKENDS, host_backend, rank_backend
from ptv2_scale.launchers.options import LaunchOptions
from ptv2_scale.runtime.errors import UserError


def test_each_backend_has_the_name_that_it_is_found_by() -> None:
    assert {name: one.name for name, one in BACKENDS.items()} == {name: name for name in BACKENDS}


@pytest.mark.parametrize("name", ["torchrum", "ssh", ""])
def test_an_unknown_launcher_is_named_with_those_that_there_are(name: str) -> None:
    with pytest.raises(UserError, match="Allowed: deepspeed, torchrun, accelerate") as refused:
        rank_backend(name)
    assert f"--backend {name}: not known." in str(refused.value)
    assert ("Did you mean 'torchrun'?" in str(refused.value)) == (name == "torchrum")


def test_an_unknown_launcher_is_refused_before_anything_else() -> None:
    with pytest.raises(UserError, match="--backend torchrum: not known"):
        request("--slurm", "--backend", "torchrum")


@pytest.mark.parametrize("name", ["psh", "local", "slurm", "torchrun"])
def test_an_unknown_transport_is_named_with_those_that_there_are(name: str) -> None:
    options = LaunchOptions("demo", hostfile=Path("hosts"), transport=name)
    with pytest.raises(UserError, match=f"--transport {name}: not known.* Allowed: pdsh, ssh"):
        host_backend(options)


def test_the_way_to_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert host_backend(LaunchOptions("demo")).name == "local"
    assert host_backend(LaunchOptions("demo", slurm=True)).name == "slurm"
    hosts = LaunchOptions("demo", hostfile=Path("hosts"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert host_backend(hosts).name == "ssh"
