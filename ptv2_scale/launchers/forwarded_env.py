"""Environment variables that travel to other hosts: by an allow-list, secrets by a file alone.

DeepSpeed's own launcher puts whatever it passes on into command lines, which `ps` shows to every
user of every host, and into its log.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.files import read_text

# What decides how ranks compute, talk and find files. PATH is not among them: hosts have their own.
_FAMILIES = (
    *("CUDA", "DEEPSPEED", "DS", "FI", "GLOO", "HF", "MKL", "MLFLOW", "NCCL", "NVIDIA", "OMP"),
    *("PTV2_SCALE", "PYTHON", "PYTORCH", "TOKENIZERS", "TORCH", "TRANSFORMERS", "UCX", "WANDB"),
)
_SINGLE = frozenset({"LD_LIBRARY_PATH", "PYTHONPATH", "XDG_CACHE_HOME"})
# Of the launching process, terminal or host alone.
_STAY = frozenset(
    {
        *("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "DS_ENV_FILE", "PYTHONSTARTUP"),
        "DS_ACCELERATOR",
        *("PTV2_SCALE_HOST", "PTV2_SCALE_LAUNCH", "PTV2_SCALE_LAUNCHER", "PTV2_SCALE_RANKS"),
    }
)

# Ranks do not wait for a network, and do not meet different commits: `ptv2-scale fetch` was before.
OFFLINE = {"HF_HUB_OFFLINE": "1"}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SECRET_NAME = re.compile(r"(TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIAL)S?(_|$)", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"://[^/\s@]+:[^/\s@]+@")

_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Variables:
    """What ranks on other hosts find in their environment.

    Attributes:
        shown: may stand on command lines.
        secret: travels in a file of mode 0600 only.
    """

    shown: Mapping[str, str]
    secret: Mapping[str, str] = field(default_factory=dict, repr=False)

    def offline(self) -> Variables:
        """The same for ranks, which do not ask the hub unless the user has said so."""
        return Variables({**OFFLINE, **self.shown}, self.secret)

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Variables:
        """Tell secrets from the rest."""
        secret = {name: value for name, value in values.items() if is_secret(name, value)}
        shown = {name: value for name, value in values.items() if name not in secret}
        return cls(shown, secret)


def is_secret(name: str, value: str) -> bool:
    """Whether a variable is a secret by its name, or holds an address with a password."""
    return bool(_SECRET_NAME.search(name) or _SECRET_VALUE.search(value))


def forwarded_env(environ: Mapping[str, str], home: Path, here: Path) -> Variables:
    """The variables of this process that other hosts' ranks get.

    Args:
        environ: of this process.
        home: the user's directory, where DeepSpeed looks for `.deepspeed_env`.
        here: the working directory, where it looks as well; the later file wins.

    Raises:
        UserError: a `.deepspeed_env` cannot be read, or others can read the secrets in it.
    """
    found = {name: value for name, value in environ.items() if _may_travel(name)}
    name = environ.get("DS_ENV_FILE", ".deepspeed_env")
    for path in dict.fromkeys((home / name, here / name)):
        if path.exists():
            found.update(read_deepspeed_env(path))
    return Variables.of(found)


def stays_behind(environ: Mapping[str, str]) -> Iterator[str]:
    """Remarks on variables that would change what ranks compute on, and do not travel.

    This host may have no accelerators where the others have some.

    Args:
        environ: of this process.
    """
    if environ.get("DS_ACCELERATOR"):
        yield (
            f"DS_ACCELERATOR={environ['DS_ACCELERATOR']} is for this host and does not travel: on"
            " the others ranks take the accelerators that they find. To set it there, write it"
            " into .deepspeed_env."
        )


def _may_travel(name: str) -> bool:
    family = any(name.startswith(f"{one}_") for one in _FAMILIES)
    return (family or name in _SINGLE) and name not in _STAY


def read_deepspeed_env(path: Path) -> dict[str, str]:
    """The variables of a `.deepspeed_env`: `NAME=VALUE` a line, blank lines and comments apart.

    A value is taken as it is written, but for quotes around it: nothing in it is expanded.

    Raises:
        UserError: names file and line.
    """
    found: dict[str, str] = {}
    for number, line in _lines(path):
        name, equals, value = line.removeprefix("export ").partition("=")
        if not equals or not _NAME.fullmatch(name):
            # The line is not shown: it may hold a secret.
            raise UserError(f"{path}:{number}: expected NAME=VALUE.")
        if "\0" in value:
            raise UserError(f"{path}:{number}: found a null byte in the value of {name}.")
        found[name] = _unquoted(value)
    _check_mode(path, found)
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    text = read_text(path, _MAX_BYTES, "a file of variables")
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line.strip()


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def _check_mode(path: Path, found: Mapping[str, str]) -> None:
    secrets = [name for name, value in found.items() if is_secret(name, value)]
    mode = stat.S_IMODE(path.stat().st_mode)
    if secrets and mode & 0o077:
        raise UserError(
            f"{path}: holds {secrets[0]} and has mode {mode:04o}, so that others can read it."
            f" Run: chmod 600 {path}"
        )
