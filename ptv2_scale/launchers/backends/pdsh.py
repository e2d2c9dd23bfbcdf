"""The hosts of a hostfile, all reached through one pdsh."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace

from ptv2_scale.launchers.backends.base import LaunchRequest
from ptv2_scale.launchers.backends.ssh import SshHosts
from ptv2_scale.launchers.options import LaunchOptions
from ptv2_scale.launchers.remote import Ssh
from ptv2_scale.launchers.spec import Channel, LaunchSpec
from ptv2_scale.runtime.errors import UserError


class PdshHosts(SshHosts):
    """One pdsh, which starts an ssh for each host."""

    name = "pdsh"

    def spec(self, request: LaunchRequest) -> LaunchSpec:
        """See `SupervisedBackend`."""
        spec = super().spec(request)
        _check(request.options)
        return replace(spec, connect=one_for_all)


def is_installed() -> bool:
    """Whether this host has pdsh."""
    return shutil.which("pdsh") is not None


def _check(options: LaunchOptions) -> None:
    if not is_installed():
        raise UserError("--transport pdsh: pdsh is not installed here. Install it, or use ssh.")
    path = "" if options.ssh_config is None else str(options.ssh_config.absolute())
    if len(path.split()) > 1:
        # pdsh splits its options for ssh at blanks, and knows no quotes.
        raise UserError(f"--ssh-config '{path}': pdsh takes no path with blanks; --transport ssh.")


def one_for_all(spec: LaunchSpec, name: str) -> list[Channel]:
    """One pdsh for all hosts; `name` is that of this start."""
    assert isinstance(spec.remote, Ssh)
    # pdsh puts in number and name of each host. No word of a command line can hold a null byte.
    command = shlex.join(spec.command(name, "\0n", "\0h")).replace("%", "%%").replace("\0", "%")
    argv = ("pdsh", "-S", "-N", "-R", "ssh", "-f", "1024", "-w", ",".join(spec.hosts), command)
    environment = {"PDSH_SSH_ARGS_APPEND": " ".join(spec.remote.options)}
    return [Channel(spec.hosts, argv, environment)]
