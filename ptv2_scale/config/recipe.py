"""The models of a recipe: every key with its type, range, default and description."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from ptv2_scale.config.kinds import Multi
from ptv2_scale.config.methods import Prefix
from ptv2_scale.config.prompt import METHODS, MethodSection
from ptv2_scale.config.rules import Partner, Partners
from ptv2_scale.config.section import Section, Variants
from ptv2_scale.config.slurm import Slurm
from ptv2_scale.config.task import TASKS, AnyTask
from ptv2_scale.config.values import Batch, Count, Duration, Fraction, PathText, Text, unique

_DEFAULT_EPOCHS = 10


def _chosen(size: int | str) -> int:
    if isinstance(size, str):
        raise ValueError("micro_batch: auto is chosen before a batch is made")
    return size


class Backbone(Section):
    """The frozen model."""

    name: PathText = Field(description="Folder of the model, or its name on the Hugging Face hub.")
    revision: Text | None = Field(
        default=None, description="Branch, tag or commit on the hub; null: the default branch."
    )
    tokenizer: PathText | None = Field(
        default=None, description="Folder or hub name of the tokenizer; null: beside the weights."
    )
    dtype: Literal["auto", "bf16", "fp32"] = Field(
        default="auto",
        description="Number format of backbone and computation; auto: bf16 where all ranks have"
        " units for it, else fp32.",
    )
    quantization: Literal["int8"] | None = Field(
        default=None,
        description="int8: the linear layers of the frozen backbone are kept in 8 bits, a scale for"
        " each row, and computed with in dtype; null: they are kept in dtype.",
    )
    dropout: Fraction | None = Field(
        default=None, description="Dropout inside the backbone; null: what its config.json says."
    )
    attention: Literal["auto", "sdpa", "causal", "flex"] = Field(
        default="auto",
        description="How keys behind a prefix are attended to: sdpa, by transformers' own attention"
        " with a mask; causal, of decoders, by causal kernels without one where texts are padded on"
        " the right; flex, by FlexAttention over text and shared prefix, on GPUs; auto: sdpa, until"
        " a GPU has shown that another one is right there.",
    )
    weights: Literal["any", "safetensors"] = Field(
        default="any", description="Weight files that may be read; safetensors refuses pickles."
    )
    trust_remote_code: bool = Field(
        default=False, description="Run Python code that comes with the backbone."
    )


class Train(Section):
    """Optimisation."""

    SECTION: ClassVar[str] = "train"
    PARTNERS: ClassVar[Partners] = {"decay": Partner("schedule", "exponential")}
    EXCLUSIVE: ClassVar[tuple[tuple[str, ...], ...]] = (("epochs", "steps"),)

    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(
        default=11, description="Seed of the first values, the order of examples and dropout."
    )
    epochs: Count | None = Field(
        default=None,
        description="Passes over the training data; 10 where steps is not given either.",
    )
    steps: Count | None = Field(
        default=None, description="Number of optimizer steps, instead of epochs."
    )
    global_batch: Batch = Field(
        default=32, description="Examples of an optimizer step, over all ranks together."
    )
    micro_batch: Batch | Literal["auto"] = Field(
        default=8,
        description="Examples of one forward pass of a rank; auto: as many as the memory of all"
        " ranks has room for.",
    )
    micro_batch_by: Literal["examples", "tokens"] = Field(
        default="examples",
        description="What micro_batch bounds: a number of examples; or the tokens, padding and"
        " prompt counted, that so many of the longest training examples have, so that shorter ones"
        " take fewer micro-steps, and any number of ranks can divide global_batch.",
    )
    lr: Annotated[float, Field(gt=0)] = Field(default=5e-3, description="Peak learning rate.")
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="Weight decay of AdamW."
    )
    betas: Annotated[tuple[Fraction, Fraction], Field(strict=False)] = Field(
        default=(0.9, 0.999), description="Decay rates of AdamW's first and second moment."
    )
    eps: Annotated[float, Field(gt=0)] = Field(
        default=1e-8, description="Epsilon in the denominator of AdamW's step."
    )
    schedule: Literal["linear", "cosine", "constant", "exponential"] = Field(
        default="linear", description="How the learning rate falls after the warmup."
    )
    warmup: Fraction | Count = Field(
        default=0.0,
        description="Warmup of the learning rate: below 1 a share of all steps, from 1 on a number"
        " of steps.",
    )
    decay: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.95,
        description="Factor of the learning rate from epoch to epoch; with schedule: exponential"
        " only.",
    )
    clip: Annotated[float, Field(gt=0)] | None = Field(
        default=1.0, description="Largest norm of the gradient; null: no clipping."
    )
    gradient_checkpointing: bool | Count | Literal["auto"] = Field(
        default="auto",
        description="Layers that are computed again in the backward pass, to save memory: true,"
        " all; false, none; a number, so many at most, from the first one that a gradient passes;"
        " auto, as few as the memory of all ranks needs.",
    )
    check_memory: bool = Field(
        default=True,
        description="Refuse a run that by its shapes does not fit the memory of its ranks, before"
        " weights are loaded.",
    )
    cpu_threads: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=1,
        description="CPU threads of a rank. More are faster where cores are idle; another number"
        " gives another order of sums, and so other last bits.",
    )
    not_finite: Literal["stop", "skip", "roll_back"] = Field(
        default="stop",
        description="What to do where a loss or gradient is not finite: stop, skip the batch, or go"
        " back to the last checkpoint and skip the batch from there.",
    )
    spike: Annotated[float, Field(gt=1)] | None = Field(
        default=3.0,
        description="Warn where a loss is this many times the largest of the last 50 steps.",
    )
    time_limit: Duration | None = Field(
        default=None, description="Time after which the run saves and ends with exit code 75."
    )
    head_only_baseline: bool = Field(
        default=False,
        description="Also train a head alone on the same backbone, and report its score.",
    )
    prometheus: PathText | None = Field(
        default=None,
        description="File NAME.prom for Prometheus' textfile collector, replaced as the run goes"
        " on; null: none.",
    )

    @property
    def examples(self) -> int:
        """`micro_batch`, once it is a number."""
        return _chosen(self.micro_batch)

    @model_validator(mode="before")
    @classmethod
    def _some_end(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("steps") is not None:
            return given
        return given if given.get("epochs") is not None else {**given, "epochs": _DEFAULT_EPOCHS}


class Evaluate(Section):
    """When the validation split is scored."""

    every: Count | None = Field(
        default=None, description="Steps between evaluations; null: at the end of each epoch."
    )
    micro_batch: Batch | Literal["auto"] = Field(
        default=16,
        description="Examples of one forward pass of a rank in evaluation and prediction; auto: as"
        " many as the memory of all ranks has room for, 256 at most.",
    )
    patience: Count | None = Field(
        default=None,
        description="Evaluations without a better metric after which the run stops; null: it goes"
        " on.",
    )

    @property
    def examples(self) -> int:
        """`micro_batch`, once it is a number."""
        return _chosen(self.micro_batch)


class Checkpoint(Section):
    """What is kept to resume from."""

    every: Count | None = Field(
        default=None, description="Steps between checkpoints; null: at each evaluation."
    )
    keep: Annotated[int, Field(ge=2)] = Field(
        default=2,
        description="How many of the newest checkpoints are kept; the best one is kept besides.",
    )
    on_error: Literal["stop", "go_on"] = Field(
        default="stop", description="What to do where a checkpoint cannot be written."
    )
    accept: list[Literal["added_rows"]] = Field(
        default_factory=list,
        description="What may be new where a run is resumed: added_rows, behind those of before.",
    )


class Watchdog(Section):
    """When a rank counts as failed; all others then end with exit code 3."""

    silence: Duration = Field(
        default="60s",
        description="Time without a sign of life from a rank (stopped, or its host lost).",
    )
    stall: Duration = Field(
        default="15m", description="Time in which no rank has got any further (a deadlock)."
    )


class RunConfig(Section):
    """A recipe: all of a run."""

    backbone: Backbone = Field(description="The frozen model.")
    prompt: Annotated[MethodSection, METHODS] = Field(
        default_factory=Prefix, description="What is trained."
    )
    task: Annotated[AnyTask, TASKS] = Field(description="Data, head and metric.")
    train: Train = Field(default_factory=Train, description="Optimisation.")
    evaluate: Evaluate = Field(
        default_factory=Evaluate, description="When the validation split is scored."
    )
    checkpoint: Checkpoint = Field(
        default_factory=Checkpoint, description="What is kept to resume from."
    )
    watchdog: Watchdog = Field(
        default_factory=Watchdog, description="When a rank counts as failed."
    )
    slurm: Slurm = Field(default_factory=Slurm, description="What a job asks Slurm for.")
    deepspeed: PathText = Field(
        default="auto",
        description="A shipped configuration (zero1, zero2, zero3, zero3_hpz, zero3_offload_cpu,"
        " zero3_offload_nvme), or the path of a DeepSpeed JSON of your own; auto: the one that"
        " shards least of those that fit the memory of all ranks.",
    )
    run: PathText | None = Field(
        default=None, description="Run directory; null: runs/NAME-OF-THE-RECIPE."
    )
    trackers: Annotated[list[Text], AfterValidator(unique)] = Field(
        default_factory=list,
        description="Names of trackers: tensorboard, or another one that accelerate knows.",
    )


def register_section(variants: Variants, model: type[Section]) -> None:
    """Let recipes name another kind of task or another method.

    Args:
        variants: `TASKS` or `METHODS`.
        model: its section, whose `kind` or `method` is a Literal of its name.

    Raises:
        ValueError: the name is taken.
    """
    variants.add(model)
    Multi.model_rebuild(force=True)
    RunConfig.model_rebuild(force=True)
