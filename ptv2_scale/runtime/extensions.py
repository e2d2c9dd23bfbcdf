"""Packages that bring kinds of tasks and methods of their own.

Such a package names a module of its own under `ptv2_scale.extensions` among its entry points:

    [project.entry-points."ptv2_scale.extensions"]
    mine = "my_package.tagging"

Importing that module calls `register_kind` or `register_method`. Every command imports it on every
rank and host, so that recipes can name what it registers.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from ptv2_scale.runtime.errors import UserError

GROUP = "ptv2_scale.extensions"


def load_extensions() -> None:
    """Import what installed packages bring.

    Raises:
        UserError: a module cannot be imported; names it and its package.
    """
    for entry in entry_points(group=GROUP):
        try:
            entry.load()
        except Exception as error:
            package = "an unknown package" if entry.dist is None else entry.dist.name
            raise UserError(
                f"the extension '{entry.name}' of {package} ({entry.value}) cannot be imported:"
                f" {type(error).__name__}: {error}. Fix or uninstall that package."
            ) from None
