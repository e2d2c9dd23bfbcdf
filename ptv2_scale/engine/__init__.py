"""Running a recipe on DeepSpeed: start, sharding, training, evaluation, checkpoints."""
