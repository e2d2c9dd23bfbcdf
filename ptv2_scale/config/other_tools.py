"""Names that other tools have for what a recipe says: an unknown key is answered with ours.

The names are those of transformers' Trainer, PEFT, the scripts of P-Tuning v2, LLaMA-Factory,
axolotl and litgpt, in small letters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Ours(NamedTuple):
    """What a recipe has in place of another tool's key.

    Attributes:
        key: its full name; empty: a recipe has none, and `note` says why.
        note: a sentence on what differs, where anything does.
    """

    key: str
    note: str = ""


_WARMUP = "Below 1 it is a share of all steps, from 1 on it counts steps."
_DTYPE = "It is auto, bf16 or fp32."
_ADAM = "AdamW is the optimizer of every run; its keys are train.betas, train.eps and weight_decay."

OTHER_NAMES: Mapping[str, Ours] = {
    # The backbone.
    **dict.fromkeys(
        ("model", "model_name", "model_name_or_path", "base_model", "base_model_name_or_path",
         "pretrained_model_name_or_path", "model_id", "checkpoint_dir"), Ours("backbone.name"),
    ),
    **dict.fromkeys(("tokenizer_name", "tokenizer_name_or_path"), Ours("backbone.tokenizer")),
    "model_revision": Ours("backbone.revision"),
    **dict.fromkeys(
        ("bf16", "fp16", "fp32", "torch_dtype", "dtype", "precision", "mixed_precision"),
        Ours("backbone.dtype", _DTYPE),
    ),
    **dict.fromkeys(
        ("load_in_8bit", "quantize", "quantization_bit", "quantization_config", "bits"),
        Ours("backbone.quantization", "It is int8, or null."),
    ),
    # What is trained.
    **dict.fromkeys(
        ("num_virtual_tokens", "pre_seq_len", "prefix_length", "prompt_length", "prefix_len",
         "soft_prompt_length"), Ours("prompt.length"),
    ),
    **dict.fromkeys(
        ("prefix_projection", "use_mlp"), Ours("prompt.encoder", "It is table, or mlp."),
    ),
    **dict.fromkeys(("prefix_hidden_size", "encoder_hidden_size"), Ours("prompt.hidden")),
    **dict.fromkeys(("hidden_dropout_prob", "prefix_dropout"), Ours("prompt.dropout")),
    **dict.fromkeys(
        ("peft_type", "adapter", "finetuning_type", "peft_method"), Ours("prompt.method"),
    ),
    **dict.fromkeys(("lora_r", "lora_rank", "r"), Ours("prompt.rank")),
    "lora_alpha": Ours("prompt.alpha"),
    "lora_dropout": Ours("prompt.dropout"),
    "lora_target_modules": Ours("prompt.target_modules"),
    # Data.
    **dict.fromkeys(("dataset", "dataset_name", "task_name"), Ours("task.name")),
    **dict.fromkeys(("data_dir", "dataset_dir", "data_path", "dataset_path"), Ours("task.path")),
    "train_file": Ours("task.train"),
    **dict.fromkeys(("validation_file", "eval_file", "dev_file"), Ours("task.validation")),
    **dict.fromkeys(("test_file", "predict_file"), Ours("task.test")),
    **dict.fromkeys(
        ("max_seq_length", "max_seq_len", "model_max_length", "cutoff_len", "sequence_len",
         "max_source_length"), Ours("task.max_length"),
    ),
    "doc_stride": Ours("task.stride"),
    "n_best_size": Ours("task.n_best"),
    "max_answer_length": Ours("task.max_answer"),
    "version_2_with_negative": Ours("task.no_answer"),
    "metric_for_best_model": Ours("task.metric"),
    # Optimisation.
    **dict.fromkeys(("training", "trainer", "optimizer", "training_args"), Ours("train")),
    **dict.fromkeys(("learning_rate", "max_lr", "peak_lr"), Ours("train.lr")),
    **dict.fromkeys(("num_train_epochs", "num_epochs", "max_epochs"), Ours("train.epochs")),
    **dict.fromkeys(("max_steps", "num_steps", "max_train_steps"), Ours("train.steps")),
    **dict.fromkeys(
        ("batch_size", "per_device_train_batch_size", "train_batch_size", "micro_batch_size",
         "per_gpu_train_batch_size", "train_micro_batch_size_per_gpu"),
        Ours("train.micro_batch", "The examples of a whole optimizer step are train.global_batch."),
    ),
    **dict.fromkeys(("max_tokens", "max_tokens_per_batch", "token_batch_size"),
                    Ours("train.micro_batch_by", "With tokens, train.micro_batch counts the longest"
                         " examples that have so many.")),
    **dict.fromkeys(
        ("gradient_accumulation_steps", "grad_accum", "accumulate_grad_batches"),
        Ours("train.global_batch", "It is the examples of an optimizer step over all ranks; the"
             " number of accumulated micro-batches follows from it, so that a run stays the same on"
             " any number of ranks."),
    ),
    "global_batch_size": Ours("train.global_batch"),
    "auto_find_batch_size": Ours("train.micro_batch", "It may say auto."),
    **dict.fromkeys(("wd", "adam_weight_decay"), Ours("train.weight_decay")),
    **dict.fromkeys(("warmup_ratio", "warmup_steps", "num_warmup_steps"),
                    Ours("train.warmup", _WARMUP)),
    **dict.fromkeys(("lr_scheduler_type", "lr_scheduler", "scheduler"), Ours("train.schedule")),
    **dict.fromkeys(("max_grad_norm", "gradient_clip_val", "gradient_clipping", "grad_clip"),
                    Ours("train.clip")),
    **dict.fromkeys(("adam_beta1", "adam_beta2"), Ours("train.betas", "It is a list of both.")),
    "adam_epsilon": Ours("train.eps"),
    **dict.fromkeys(("optim", "optimizer_type"), Ours("", _ADAM)),
    **dict.fromkeys(("random_seed", "data_seed"), Ours("train.seed")),
    "use_gradient_checkpointing": Ours("train.gradient_checkpointing"),
    # Evaluation and checkpoints.
    **dict.fromkeys(
        ("eval_batch_size", "per_device_eval_batch_size", "per_gpu_eval_batch_size"),
        Ours("evaluate.micro_batch"),
    ),
    **dict.fromkeys(("eval_steps", "eval_strategy", "evaluation_strategy", "eval_interval",
                     "evals_per_epoch"),
                    Ours("evaluate.every", "It counts steps; null is the end of each epoch.")),
    "early_stopping_patience": Ours("evaluate.patience"),
    **dict.fromkeys(("save_steps", "save_strategy", "save_interval"),
                    Ours("checkpoint.every", "It counts steps; null is each evaluation.")),
    "save_total_limit": Ours("checkpoint.keep"),
    "load_best_model_at_end": Ours("", "The best checkpoint is always the one that is exported."),
    "resume_from_checkpoint": Ours("", "Give --resume auto, or --resume PATH, with the command."),
    # The run.
    **dict.fromkeys(("output_dir", "out_dir", "save_dir"), Ours("run")),
    "deepspeed_config": Ours("deepspeed"),
    **dict.fromkeys(("report_to", "logger_name"), Ours("trackers")),
    **dict.fromkeys(("logging_steps", "log_interval"),
                    Ours("", "metrics.jsonl has a line for every step.")),
}  # fmt: skip


def our_name(key: str) -> str:
    """A sentence or two that answer another tool's key, with a space in front; else nothing.

    Args:
        key: the last part of a key that a recipe does not have.
    """
    ours = OTHER_NAMES.get(key.lower().replace("-", "_"))
    if ours is None:
        return ""
    named = f"Here it is '{ours.key}'." if ours.key else "A recipe has no such key."
    return " ".join(["", named, *([ours.note] if ours.note else [])])
