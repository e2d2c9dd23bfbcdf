"""A sweep as a function: what `ptv2-scale sweep` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ptv2_scale.config import yaml_text
from ptv2_scale.runtime.atomic import write_atomically
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.sweep.cells import INLINE, Cell, cells_of
from ptv2_scale.sweep.load import SweepFile, load_sweep
from ptv2_scale.sweep.planning import Plans, cell_limit, cells_that_do_not_fit, plan_cells
from ptv2_scale.sweep.runners.base import Runner
from ptv2_scale.sweep.schedule import OnTrial, Scheduler
from ptv2_scale.sweep.state import SweepState


@dataclass(frozen=True)
class Sweep:
    """A sweep file with its cells.

    Attributes:
        file: the sweep file.
        cells: every recipe checked.
    """

    file: SweepFile
    cells: Sequence[Cell]

    @classmethod
    def read(cls, path: Path) -> Sweep:
        """Read a sweep file and all its recipes; nothing is written.

        Raises:
            UserError: names all that is wrong.
        """
        file = load_sweep(path)
        return cls(file, cells_of(file))

    @cached_property
    def plans(self) -> Plans:
        """What the cells take; see `plan_cells`."""
        return plan_cells(self.cells, self.file.config.launch)

    @cached_property
    def left_out(self) -> Mapping[str, str]:
        """Labels of cells that do not fit and are left out, with the reason."""
        launch = self.file.config.launch
        if cell_limit(launch) is None:  # nothing has to be estimated
            return {}
        return cells_that_do_not_fit(self.plans, launch)

    def state(self) -> SweepState:
        """The state of a sweep that has been started.

        Raises:
            UserError: it has not, or the state cannot be opened.
        """
        return SweepState.of(self.file)

    def scheduler(self, on_trial: Callable[[SweepState], OnTrial]) -> Scheduler:
        """What runs the rest of the sweep, beside other processes that do; see `Scheduler`.

        Args:
            on_trial: makes what is called with each trial that starts or ends.

        Raises:
            UserError: a recipe has changed since the sweep was begun, or nothing can be run so.
        """
        self._check_pruning()
        self.file.folder.mkdir(parents=True, exist_ok=True)
        if not isinstance(self.file.config.recipe, str):
            write_atomically(self.file.folder / INLINE, yaml_text.write(self.file.config.recipe))
        state = SweepState.of(self.file, make=True)
        state.prepare(self.cells, self.left_out)
        return Scheduler(self.cells, state, self._runner(state), on_trial(state))

    def _check_pruning(self) -> None:
        pruned = [cell for cell in self.cells if cell.search and cell.search.prune != "none"]
        if self.file.config.launch.slurm and pruned:
            raise UserError(
                f"{self.file.place('launch', 'slurm')}: launch.slurm: runs there are not stopped"
                " early. Set search.prune: none."
            )

    def _runner(self, state: SweepState) -> Runner:
        from ptv2_scale.sweep.runners.launched import on_hostfile, on_this_host
        from ptv2_scale.sweep.runners.slurm import SlurmArrays

        settings = self.file.config.launch
        if settings.slurm:
            return SlurmArrays(self.file.folder, settings, state.note_job)
        if settings.hostfile is not None:
            return on_hostfile(settings, self.file.folder)
        return on_this_host(settings)
