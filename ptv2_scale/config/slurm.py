"""The section `slurm` of a recipe: what `ptv2-scale launch --slurm` asks Slurm for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from ptv2_scale.config.values import SETTINGS, Count, Duration, seconds

# These end up in #SBATCH lines, where a blank, a quote or a newline would begin something else.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/+@,=-]{0,199}$", examples=["gpu"])]
Constraint = Annotated[str, Field(pattern=r"^[A-Za-z0-9\[(][A-Za-z0-9._:+@,&|*()\[\]-]{0,199}$")]
Memory = Annotated[str, Field(pattern=r"^[0-9]{1,9}[KMGT]?$", examples=["200G"])]
Limit = Annotated[
    str,
    Field(
        pattern=r"^([0-9]{1,6}(:[0-9]{1,2}){0,2}|[0-9]{1,4}-[0-9]{1,2}(:[0-9]{1,2}){0,2})$",
        examples=["24:00:00"],
    ),
]
# Bash reads one line at a time; what a line says is the user's own.
Line = Annotated[str, Field(pattern=r"^[^\x00\r\n]+$", max_length=4000)]


def _signalled(warning: str) -> str:
    # What `sbatch --signal` can count.
    if not 1 <= seconds(warning) <= 65535:
        raise ValueError("allowed: from 1s to 65535s")
    return warning


class Slurm(BaseModel):
    """What a job asks Slurm for, and what it does at its time limit."""

    model_config = SETTINGS

    nodes: Annotated[int, Field(ge=1, le=10_000)] = Field(default=1, description="Nodes of a job.")
    ranks_per_node: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None, description="Ranks of a node; null: one a GPU asked for, else one."
    )
    gpus_per_node: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None, description="GPUs of a node; null: none are asked for."
    )
    partition: Name | None = Field(default=None, description="Partition; null: the default one.")
    account: Name | None = Field(
        default=None, description="Account that the job is charged to; null: the user's default."
    )
    qos: Name | None = Field(default=None, description="Quality of service; null: the default.")
    time: Limit | Count | None = Field(
        default=None, description="Time limit in the notation of sbatch; null: the partition's."
    )
    constraint: Constraint | None = Field(default=None, description="Features a node must have.")
    mem: Memory | Count | None = Field(
        default=None, description="Memory of a node; null: the partition's default."
    )
    cpus_per_task: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None, description="CPUs of a rank; null: the partition's default."
    )
    warning: Annotated[Duration, AfterValidator(_signalled)] = Field(
        default="120s",
        description="How long before its time limit a job saves and is queued again.",
    )
    requeues: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=20,
        description="How often a job that stopped with everything saved is queued again.",
    )
    setup: list[Line] = Field(
        default_factory=list, description="Shell lines that a job runs first: module load, ..."
    )
    launcher: Literal["rank", "node"] = Field(
        default="rank",
        description="rank: srun starts every rank; node: one DeepSpeed launcher on every node.",
    )

    @property
    def ranks(self) -> int:
        """Ranks of a node."""
        return self.ranks_per_node or self.gpus_per_node or 1
