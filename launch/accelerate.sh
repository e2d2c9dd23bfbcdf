#!/usr/bin/env bash
# Train on the GPUs of this host, or of several, through `accelerate launch`.
#
#   launch/accelerate.sh RANKS RECIPE [key=value ...] [--resume auto]
#
# On several nodes give the same line on each, and with it where they meet:
#   --nodes 2 --node-rank 0 --master FIRST-NODE:29500     on the second one: --node-rank 1
set -euo pipefail
if [ $# -lt 2 ]; then
  sed -n '4p' "$0" >&2
  exit 2
fi
ranks=$1
shift
exec ptv2-scale launch "$@" --nproc "$ranks" --backend accelerate
