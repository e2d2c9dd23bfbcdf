#!/usr/bin/env bash
# Train on the GPUs of this host through torchrun, where that is what a site's tools expect.
#
#   launch/torchrun.sh RANKS RECIPE [key=value ...] [--resume auto]
set -euo pipefail
if [ $# -lt 2 ]; then
  sed -n '4p' "$0" >&2
  exit 2
fi
ranks=$1
shift
exec torchrun --standalone --nproc-per-node "$ranks" -m ptv2_scale train "$@"
