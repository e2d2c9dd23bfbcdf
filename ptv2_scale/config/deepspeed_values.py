"""The values of DeepSpeed's JSON, outside `zero_optimization`, one strict model a section.

DeepSpeed reads most of them without looking: a switch that is "false" in quotes is on, and a
section that is null ends in a traceback once all ranks have started.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_Count = Annotated[int, Field(ge=1)]
_Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
_SECTION = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class TensorBoard(BaseModel):
    """Section `tensorboard`; needs the package of that name."""

    model_config = _SECTION
    enabled: bool = False
    output_path: _Text = ""
    job_name: _Text = "DeepSpeedJobName"


class WandB(BaseModel):
    """Section `wandb`; needs the package of that name."""

    model_config = _SECTION
    enabled: bool = False
    group: _Text | None = None
    team: _Text | None = None
    project: _Text = "deepspeed"


class Csv(BaseModel):
    """Section `csv_monitor`."""

    model_config = _SECTION
    enabled: bool = False
    output_path: _Text = ""
    job_name: _Text = "DeepSpeedJobName"


class Comet(BaseModel):
    """Section `comet`; needs the package comet_ml."""

    model_config = _SECTION
    enabled: bool = False
    samples_log_interval: _Count = 100
    project: _Text | None = None
    workspace: _Text | None = None
    api_key: _Text | None = None
    experiment_name: _Text | None = None
    experiment_key: _Text | None = None
    online: bool | None = None
    mode: Literal["get", "create", "get_or_create"] | None = None


class CommsLogger(BaseModel):
    """Section `comms_logger`."""

    model_config = _SECTION
    enabled: bool = False
    prof_all: bool = True
    prof_ops: list[_Text] = Field(default_factory=list)
    verbose: bool = False
    debug: bool = False


class FlopsProfiler(BaseModel):
    """Section `flops_profiler`."""

    model_config = _SECTION
    enabled: bool = False
    recompute_fwd_factor: Annotated[float, Field(ge=0)] = 0.0
    profile_step: _Count = 1
    module_depth: Annotated[int, Field(ge=-1)] = -1
    top_modules: _Count = 1
    detailed: bool = True
    output_file: _Text | None = None


class Throughput(BaseModel):
    """Section `timers.throughput`."""

    model_config = _SECTION
    enabled: bool = True
    synchronized: bool = True


class Timers(BaseModel):
    """Section `timers`."""

    model_config = _SECTION
    throughput: Throughput = Field(default_factory=Throughput)


class DataTypes(BaseModel):
    """Section `data_types`."""

    model_config = _SECTION
    grad_accum_dtype: Literal["fp32", "bf16"] | None = None


class AsynchronousIo(BaseModel):
    """Section `aio`, for weights on NVMe."""

    model_config = _SECTION
    block_size: _Count = 1 << 20
    queue_depth: _Count = 8
    intra_op_parallelism: _Count = 1
    single_submit: bool = False
    overlap_events: bool = True
    use_gds: bool = False


class Settings(BaseModel):
    """All keys that a user may set."""

    model_config = _SECTION
    aio: AsynchronousIo = Field(default_factory=AsynchronousIo)
    comet: Comet = Field(default_factory=Comet)
    comms_logger: CommsLogger = Field(default_factory=CommsLogger)
    communication_data_type: Literal["fp32", "bf16", "fp16"] | None = None
    csv_monitor: Csv = Field(default_factory=Csv)
    data_types: DataTypes = Field(default_factory=DataTypes)
    disable_allgather: bool = False
    disable_python_gc: bool = False
    dump_state: bool = False
    flops_profiler: FlopsProfiler = Field(default_factory=FlopsProfiler)
    log_level: Literal["debug", "info", "warning", "error", "critical"] | None = None
    memory_breakdown: bool = False
    steps_per_print: _Count | None = None
    tensorboard: TensorBoard = Field(default_factory=TensorBoard)
    timers: Timers = Field(default_factory=Timers)
    wall_clock_breakdown: bool = False
    wandb: WandB = Field(default_factory=WandB)
    zero_allow_untested_optimizer: bool = True
    zero_optimization: Any = None


# Sections that need a package once they are enabled.
NEEDED_PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "comet": "comet_ml"}
