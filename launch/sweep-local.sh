#!/usr/bin/env bash
# Run a sweep on this host: as many runs at a time as its file says (launch.at_once).
#
#   launch/sweep-local.sh SWEEP.yaml [--dry-run]
#   launch/sweep-local.sh recipes/sweeps/small.yaml
#
# Ctrl-C has all runs save; the same line goes on.
set -euo pipefail
if [ $# -lt 1 ]; then
  sed -n '4,5p' "$0" >&2
  exit 2
fi
exec ptv2-scale sweep "$@"
