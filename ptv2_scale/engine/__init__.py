"""Running a recipe on DeepSpeed: start, sharding, training, evaluation, checkpoints."""

import os

import torch

if not torch.accelerator.is_available():
    # DeepSpeed looks the accelerator up when it is imported, and warns where it finds none.
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
