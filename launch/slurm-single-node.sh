#!/usr/bin/env bash
# Train on the GPUs of one node, one process a GPU.
#
#   sbatch --gpus-per-node=8 --ntasks-per-node=8 --time=24:00:00 \
#     launch/slurm-single-node.sh RECIPE [key=value ...]
#
# Give the same line again to go on. launch/slurm-multi-node.sh comes back by itself.
#SBATCH --nodes=1
#SBATCH --job-name=ptv2
#SBATCH --output=%x.%j.log
set -euo pipefail
if [ $# -lt 1 ]; then
  echo "usage: sbatch launch/slurm-single-node.sh RECIPE [key=value ...]" >&2
  exit 2
fi

MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT=$((20000 + SLURM_JOB_ID % 12000))
export MASTER_ADDR MASTER_PORT

exec srun --export=ALL --kill-on-bad-exit=1 python -m ptv2_scale train "$@" --resume auto
