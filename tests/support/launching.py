"""What a launch is asked for, from the words of the command line."""

from __future__ import annotations

from ptv2_scale.cli import parse
from ptv2_scale.cli.launch_options import launch_options
from ptv2_scale.launchers.api import open_request
from ptv2_scale.launchers.backends.base import LaunchRequest
from ptv2_scale.launchers.backends.local import LocalHosts
from ptv2_scale.launchers.backends.registry import host_backend
from ptv2_scale.launchers.backends.supervised import SupervisedBackend
from ptv2_scale.launchers.options import LaunchOptions
from ptv2_scale.launchers.spec import LaunchSpec


def options(*words: str) -> LaunchOptions:
    """Those of `ptv2-scale launch demo`."""
    return launch_options(parse(["launch", "demo", *words]))


def request(*words: str) -> LaunchRequest:
    return open_request(options(*words))


def spec(*words: str, devices: int = 2) -> LaunchSpec:
    """What would run on each host; this one has so many accelerators."""
    asked = request(*words)
    backend = host_backend(asked.options)
    if isinstance(backend, LocalHosts):
        backend = LocalHosts(lambda: devices)
    assert isinstance(backend, SupervisedBackend)
    return backend.spec(asked)
