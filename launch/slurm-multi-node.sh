#!/usr/bin/env bash
# Train on the GPUs of several nodes, one process a GPU. Before its time limit the job saves, is
# queued again, and goes on.
#
#   sbatch --nodes=4 --gpus-per-node=8 --ntasks-per-node=8 --time=24:00:00 \
#     launch/slurm-multi-node.sh RECIPE [key=value ...]
#
# `ptv2-scale launch RECIPE --slurm --dry-run` prints such a script for a recipe's section slurm.
#SBATCH --job-name=ptv2
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x.%j.log
set -uo pipefail
if [ $# -lt 1 ]; then
  echo "usage: sbatch launch/slurm-multi-node.sh RECIPE [key=value ...]" >&2
  exit 2
fi
most=20

MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT=$((20000 + SLURM_JOB_ID % 12000))
export MASTER_ADDR MASTER_PORT

# USR1 comes before the time limit, and to this shell alone; TERM comes to the ranks as well, and
# means that Slurm itself knows what is next (scancel, preemption, scontrol requeue).
ended=false
trap 'kill -USR1 "$ranks"' USR1
trap 'ended=true' TERM
srun --export=ALL --kill-on-bad-exit=1 python -m ptv2_scale train "$@" --resume auto &
ranks=$!
while kill -0 "$ranks" 2>/dev/null; do wait "$ranks"; done
wait "$ranks"
code=$?

# 75: stopped with everything saved.
if [[ $code == 75 && $ended == false ]] && ((${SLURM_RESTART_COUNT:-0} < most)); then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
