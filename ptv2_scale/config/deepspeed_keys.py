"""The top-level keys of DeepSpeed 0.19: those a user may set, and those refused, with the reason.

DeepSpeed has no list of its own: its readers (runtime/config.py and the files it calls) look up
each key by name. Their values are in `deepspeed_values.py`; the keys below `zero_optimization`, and
their values, are read from DeepSpeed's own model.
"""

from __future__ import annotations

from ptv2_scale.config.deepspeed_values import Settings

ALLOWED = frozenset(Settings.model_fields)

_BATCH = "the recipe decides it: set train.global_batch and train.micro_batch in the recipe"
_DTYPE = "the recipe decides it: set backbone.dtype (bf16 or fp32) in the recipe"
_LOSS = "the loss is already divided by the examples of the global batch; this would scale it again"
_PARALLEL = "ranks share data only here; the prefix is not split over tensors, sequences or stages"
_GONE = "DeepSpeed 0.19 has removed it; delete the key"
_CHECKPOINT = "checkpoints are written by ptv2_scale: see `checkpoint` in the recipe"
_DATA = "batches are made by ptv2_scale, in an order that does not depend on the ranks"

REFUSED = {
    "train_batch_size": _BATCH,
    "train_micro_batch_size_per_gpu": _BATCH,
    "gradient_accumulation_steps": _BATCH,
    "managed_gradient_accumulation": _BATCH,
    "gradient_clipping": "the recipe decides it: set train.clip in the recipe",
    "optimizer": "it is AdamW: set train.lr, train.betas, train.weight_decay in the recipe",
    "scheduler": "the recipe decides it: set train.schedule and train.warmup in the recipe",
    "zero_force_ds_cpu_optimizer": "the optimizer is AdamW and stays on the device",
    "bf16": _DTYPE,
    "bfloat16": _DTYPE,
    "torch_autocast": _DTYPE,
    "fp16": f"T5 overflows in fp16, bf16 has the range of fp32; {_DTYPE}",
    "prescale_gradients": _LOSS,
    "gradient_predivide_factor": _LOSS,
    "gradient_allreduce_op": _LOSS,
    "activation_checkpointing": (
        "it acts on models that call DeepSpeed's own checkpointing, none here: "
        "set train.gradient_checkpointing in the recipe"
    ),
    "tensor_parallel": _PARALLEL,
    "expert_parallel": _PARALLEL,
    "sequence_parallel_size": _PARALLEL,
    "data_parallel_size": _PARALLEL,
    "seq_parallel_communication_data_type": _PARALLEL,
    "use_data_before_expert_parallelism": _PARALLEL,
    "pipeline": _PARALLEL,
    "checkpoint": _CHECKPOINT,
    "datastates_ckpt": _CHECKPOINT,
    "data_efficiency": _DATA,
    "dataloader_drop_last": _DATA,
    "autotuning": "it searches batch sizes and ZeRO stages, which the recipe decides",
    "hybrid_engine": "it is for generation in RLHF and gathers the whole backbone",
    "weight_quantization": "quantised weights change every forward of the frozen backbone",
    "compile": "DeepCompile does not know the prefix's attention",
    "vocabulary_size": "DeepSpeed only prints a warning from it; delete the key",
    "elasticity": f"{_GONE}. A run resumes on another number of ranks: --resume auto",
    "amp": f"{_GONE}. Set backbone.dtype (bf16 or fp32) in the recipe",
    "nebula": _GONE,
    "compression_training": _GONE,
    "quantize_training": _GONE,
    "sparse_gradients": _GONE,
    "eigenvalue": _GONE,
    "sparse_attention": _GONE,
    "graph_harvesting": _GONE,
    "curriculum_learning": _GONE,
    "progressive_layer_drop": _GONE,
}

_NUMBERS = "it changes the numbers of the frozen backbone, which are kept as backbone.dtype says"

REFUSED_IN_DATA_TYPES = {
    "param_dtype": _DTYPE,
    "buffer_dtype": _NUMBERS,
    "keep_in_fp32_modules": _NUMBERS,
}

_OPTIMIZER_STATE = (
    "what is trained has some megabytes of optimizer state: moving it away saves nothing and slows "
    "every step (offload_param moves the backbone). prompt.method: full has more, and may"
)
_QUANTISED = (
    "DeepSpeed would quantise what it gathers, and other bits on another number of ranks. Set"
    " backbone.quantization: int8 in the recipe"
)
_WHOLE_MODULES = (
    "it gathers whole modules at once and misses weights that two of them share; delete it"
)

REFUSED_IN_ZERO = {
    "offload_optimizer": _OPTIMIZER_STATE,
    "cpu_offload": _OPTIMIZER_STATE,
    "zenflow": _OPTIMIZER_STATE,
    "cpu_offload_use_pin_memory": "DeepSpeed ignores it now: write offload_param.pin_memory",
    "cpu_offload_param": 'an old spelling: write "offload_param": {"device": "cpu"}',
    "zero_quantized_weights": _QUANTISED,
    "zero_quantized_nontrainable_weights": (
        "it overwrites a backbone that was frozen before DeepSpeed starts (all weights become 0)"
    ),
    "zero_quantized_gradients": "the prefix's gradients are small; quantising them saves nothing",
    "mics_shard_size": f"{_GONE}. zero_hpz_partition_size shards inside a host",
    "mics_hierarchical_params_gather": f"{_GONE}. zero_hpz_partition_size shards inside a host",
    "zeropp_loco_param": _GONE,
    "legacy_stage1": _GONE,
    "module_granularity_threshold": _WHOLE_MODULES,
    "stage3_module_granularity_threshold": _WHOLE_MODULES,
    "elastic_checkpoint": _CHECKPOINT,
    "pipeline_loading_checkpoint": _CHECKPOINT,
}

# Refused as false, too.
REFUSED_EVEN_OFF_IN_ZERO = {
    "stage3_gather_fp16_weights_on_model_save": (
        "DeepSpeed 0.19 has renamed it: write stage3_gather_16bit_weights_on_model_save"
    ),
}
# Refused as false alone.
NEEDED_IN_ZERO = {
    "compute_grad_norm": (
        "the norm shows batches that are not finite; write true, or delete the key"
    ),
}
