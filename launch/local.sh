#!/usr/bin/env bash
# Train on the GPUs of this host (or on CPU processes where it has none).
#
#   launch/local.sh RANKS RECIPE [key=value ...] [--resume auto]
#   launch/local.sh 8 recipes/minilm-rte.yaml backbone.name=./minilm task.path=./RTE
#
# Ctrl-C ends the run; the same line with --resume auto goes on from the newest checkpoint.
set -euo pipefail
if [ $# -lt 2 ]; then
  sed -n '4,5p' "$0" >&2
  exit 2
fi
ranks=$1
shift
exec deepspeed --num_gpus "$ranks" --module ptv2_scale train "$@"
