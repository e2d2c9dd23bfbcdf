#!/usr/bin/env bash
# Run a sweep as arrays of Slurm jobs, and follow them: launch.slurm is true in its file.
#
#   launch/sweep-slurm.sh SWEEP.yaml
#
# It submits what is left, waits, and prints what ends; leave it in tmux on a login node. Ended or
# killed, it leaves the jobs alone, and the same line follows them.
set -euo pipefail
if [ $# -lt 1 ]; then
  sed -n '4,4p' "$0" >&2
  exit 2
fi
if ! grep -Eq '^ *slurm: *true|slurm: *true *[,}]' "$1"; then
  echo "$1: has no launch: {slurm: true}, so its runs would run on this host." >&2
  exit 2
fi
exec ptv2-scale sweep "$@"
