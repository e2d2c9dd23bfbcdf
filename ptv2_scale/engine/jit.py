"""DeepSpeed's JIT-built C++ extensions: where they are kept, and starts that outlive a kill -9.

On a CPU, DeepSpeed loads a C++ extension at every start, under a file named `lock` that names no
owner: PyTorch's `FileBaton` creates it, and whoever finds it waits until it is gone. A process that
is killed in between leaves it behind, and every later start would wait for ever. Here the
extensions are loaded under a lock of the kernel's, which dies with its holder: who holds it knows
that no other rank or run of ours is loading, and removes batons that nobody uses.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ptv2_scale.runtime.errors import UserError

COMMUNICATION = "ShareMemCommBuilder"
NVME = "AsyncIOBuilder"

_POLL_S = 0.2
_WARN_AFTER_S = 60.0
_logger = logging.getLogger(__name__)


def prepare_extensions(builders: Sequence[str] = (COMMUNICATION,)) -> None:
    """Load, and build if need be, DeepSpeed's extensions, so that DeepSpeed finds them loaded.

    Call it before `deepspeed.init_distributed`, never around it: ranks load one after another
    here, and meet only there. An extension that the accelerator does not use is passed over.

    Args:
        builders: DeepSpeed's names of the extensions; `NVME` is needed where weights lie on NVMe.

    Raises:
        UserError: an extension could not be built, or there is no folder to keep it in.
    """
    root = _extensions_folder()
    _put_ninja_on_path()
    with extension_guard(root):
        os.environ["TORCH_EXTENSIONS_DIR"] = str(root)
        for name in builders:
            _load(name)


@contextmanager
def extension_guard(root: Path) -> Iterator[None]:
    """Be the only process of ptv2_scale that loads extensions of `root`, without dead batons.

    Must not enclose anything that waits for other ranks: they wait for this guard.

    Args:
        root: the folder with one subfolder an extension; it is created if missing.

    Raises:
        UserError: it cannot be made or written.
    """
    handle = _open_guard(root)
    try:
        root = root.resolve()  # as /proc names it
        _lock(handle, root)
        for baton in sorted(root.glob("*/lock")):
            _remove_when_unused(baton)
        yield
    finally:
        os.close(handle)


def _open_guard(root: Path) -> int:
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not os.access(root, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return os.open(root / "ptv2_scale.guard", os.O_RDWR | os.O_CREAT, 0o666)
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
        reason = getattr(error, "strerror", None) or error
        raise _unusable(root, str(reason)) from None


def _unusable(root: Path, reason: str) -> UserError:
    return UserError(
        f"{root}: DeepSpeed's extensions cannot be kept there ({reason}). TORCH_EXTENSIONS_DIR"
        f" is {os.environ.get('TORCH_EXTENSIONS_DIR') or 'not set'}: set it, on every host, to a"
        " folder that can be written."
    )


def _lock(handle: int, root: Path) -> None:
    began, warned = time.monotonic(), False
    while not _try_lock(handle):
        if not warned and time.monotonic() - began > _WARN_AFTER_S:
            _logger.warning("waiting for another process that loads extensions of %s", root)
            warned = True
        time.sleep(_POLL_S)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # Some network file systems have no locks: PyTorch's own baton still keeps builders apart.
        _logger.warning("no lock to be had for DeepSpeed's extensions: %s", error)
    return True


def _extensions_folder() -> Path:
    chosen = os.environ.get("TORCH_EXTENSIONS_DIR")
    if chosen:
        return Path(chosen).absolute()
    beside_python = Path(sys.prefix) / "torch_extensions"
    if os.access(beside_python if beside_python.exists() else sys.prefix, os.W_OK):
        return beside_python
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "ptv2_scale" / "torch_extensions"


def _put_ninja_on_path() -> None:
    # PyTorch runs `ninja` by name; a virtual environment that is not activated is not on PATH.
    # The environment's own comes first even where the system has one: versions of ninja hash
    # commands differently, and two that take turns would build everything anew at each start.
    own = Path(sys.prefix) / "bin"
    if (own / "ninja").exists() or shutil.which("ninja") is None:
        os.environ["PATH"] = os.pathsep.join([str(own), os.environ.get("PATH", "")])


def _load(name: str) -> None:
    import deepspeed
    from deepspeed.accelerator import get_accelerator

    builder = get_accelerator().create_op_builder(name)
    if builder is None or not deepspeed.ops.__compatible_ops__.get(builder.NAME, False):
        return
    try:
        builder.load(verbose=False)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"DeepSpeed's extension {builder.NAME} could not be built: {error}\n"
            f"On a CPU it needs a C++ compiler (g++ or clang++) on PATH. It is kept in "
            f"{os.environ['TORCH_EXTENSIONS_DIR']}; TORCH_EXTENSIONS_DIR names another folder."
        ) from error


def _remove_when_unused(baton: Path) -> None:
    """Wait while a living process holds or builds under `baton`, then see that it is gone."""
    warned = False
    while (first_look := _identity(baton)) is not None:
        users = _users(baton)
        if users and not warned:
            _logger.warning("waiting for process %s, which builds in %s", users[0], baton.parent)
            warned = True
        time.sleep(_POLL_S)
        # Two looks: a holder closes its baton an instant before it removes it.
        if not users and not _users(baton) and _identity(baton) == first_look:
            _remove(baton)
            _logger.warning("removed %s, left by a process that was killed", baton)


def _remove(baton: Path) -> None:
    try:
        baton.unlink(missing_ok=True)
    except OSError as error:  # another user's
        raise _unusable(baton, f"left by a process that was killed; {error.strerror}") from None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _users(baton: Path) -> list[int]:
    """Process numbers that hold `baton` open or work in its folder (an orphaned compiler)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) != os.getpid() and _uses(process, baton):
            found.append(int(process.name))
    return found


def _uses(process: Path, baton: Path) -> bool:
    if _target(process / "cwd") == str(baton.parent):
        return True
    try:
        opened = list((process / "fd").iterdir())
    except OSError:  # it ended meanwhile, or is another user's
        return False
    return any(_target(link) == str(baton) for link in opened)


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""
