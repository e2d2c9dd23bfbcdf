#!/usr/bin/env bash
# Train on several hosts, by pdsh where it is installed, else by ssh.
#
#   launch/hostfile.sh HOSTFILE RECIPE [key=value ...] [--transport ssh] [--resume auto]
#
# HOSTFILE has a line for each host: NAME slots=GPUS
set -euo pipefail
if [ $# -lt 2 ]; then
  sed -n '4p' "$0" >&2
  exit 2
fi
hostfile=$1
shift
exec ptv2-scale launch "$@" --hostfile "$hostfile" --max-restarts 3
