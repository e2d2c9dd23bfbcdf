"""What the cells of a sweep take, from shapes alone, and which of them do not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ptv2_scale.launchers.hostfile import read_hostfile
from ptv2_scale.runtime.errors import UserError
from ptv2_scale.runtime.memory import GB
from ptv2_scale.sweep.cells import Cell
from ptv2_scale.sweep.config import Launch
from ptv2_scale.sweep.runners.launched import ranks_here


@dataclass(frozen=True)
class CellPlan:
    """What a run of a cell takes.

    Attributes:
        trained: number of trained parameters.
        parameters: number of all.
        memory: bytes of the device of a rank, at most.
    """

    trained: int
    parameters: int
    memory: int


# By a cell's label: what it takes, or why that is not known.
Plans = Mapping[str, CellPlan | UserError]


def memory_limit(launch: Launch) -> int | None:
    """Bytes of a GPU that trials have; None: there is none, or it is not known.

    It is what the sweep file says; else, where trials run on this host, its smallest GPU's.
    """
    if launch.gpu_memory is not None:
        return int(launch.gpu_memory * GB)
    if launch.hostfile is not None or launch.slurm:
        return None
    from ptv2_scale.distributed.memory import gpu_memory

    return gpu_memory()


def cell_limit(launch: Launch) -> int | None:
    """Bytes that a rank of a cell's run may need; None: no cell is left out."""
    return None if launch.does_not_fit == "run" else memory_limit(launch)


def plan_cells(cells: Sequence[Cell], launch: Launch) -> Plans:
    """What the first run of each cell takes; those that are alike are estimated once.

    Args:
        cells: of the sweep.
        launch: where trials run.
    """
    limit, known = memory_limit(launch), dict[str, CellPlan | UserError]()
    found: dict[str, CellPlan | UserError] = {}
    for cell in cells:
        alike = _shape(cell)
        if alike not in known:
            try:
                known[alike] = plan_cell(cell, launch, limit)
            except UserError as error:
                known[alike] = error
        found[cell.label] = known[alike]
    return found


def plan_cell(cell: Cell, launch: Launch, limit: int | None) -> CellPlan:
    """What a cell's first run takes; of a grid that tries lengths, the first one's.

    Args:
        cell: of the sweep.
        launch: where trials run.
        limit: bytes of a GPU; None: there is none, or it is not known. Where the recipe says
            `auto`, no layer is then taken to be computed again, and as little to be sharded as
            can be.

    Raises:
        UserError: the backbone is not here, or does not go together with the recipe.
    """
    from ptv2_scale.distributed.accelerator import choose_accelerator
    from ptv2_scale.estimate.checkpointing import with_fewest_layers
    from ptv2_scale.estimate.fitting import estimate
    from ptv2_scale.estimate.kernels import Device
    from ptv2_scale.estimate.micro_batch import with_largest_micro_batches
    from ptv2_scale.estimate.parameters import part_sizes
    from ptv2_scale.estimate.passes import MeasuredPasses
    from ptv2_scale.estimate.sharding import with_least_sharding
    from ptv2_scale.estimate.zero import Cluster
    from ptv2_scale.model.setup import build_model, open_shapes

    choose_accelerator()
    setup = open_shapes(cell.config)
    parts = part_sizes(build_model(setup))
    cluster, measure = Cluster(*_hosts_and_ranks(cell, launch)), MeasuredPasses()
    device: Device = "cpu" if limit is None else "cuda"
    setup = with_least_sharding(setup, cluster, device, limit, measure)
    setup = with_largest_micro_batches(setup, cluster, device, limit, measure)
    if limit is not None:
        setup = with_fewest_layers(setup, cluster, device, limit, measure)
    memory = estimate(setup, cluster, device, measure)
    trained = sum(part.trained for part in parts)
    return CellPlan(trained, sum(part.parameters for part in parts), memory.total)


def cells_that_do_not_fit(plans: Plans, launch: Launch) -> dict[str, str]:
    """Cells that are left out, by label, with the reason."""
    limit = cell_limit(launch)
    if limit is None:
        return {}
    from ptv2_scale.estimate.fitting import verdict

    return {
        label: f"needs about {plan.memory / GB:.3g} GB of a GPU with {limit / GB:.3g} GB"
        for label, plan in plans.items()
        if isinstance(plan, CellPlan) and verdict(plan.memory, limit) == "does not fit"
    }


def _shape(cell: Cell) -> str:
    """What memory follows from."""
    config = cell.config
    batches = (config.train.micro_batch, config.evaluate.micro_batch)
    how = (config.train.gradient_checkpointing, config.deepspeed, config.slurm)
    return repr((config.backbone, config.prompt, config.task, batches, how))


def _hosts_and_ranks(cell: Cell, launch: Launch) -> tuple[int, int]:
    if launch.slurm:
        return cell.config.slurm.nodes, cell.config.slurm.ranks
    if launch.hostfile is not None:
        hosts = read_hostfile(Path(launch.hostfile))
        return launch.hosts, min(host.slots for host in hosts)
    return 1, ranks_here(launch)
