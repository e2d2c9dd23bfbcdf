#!/usr/bin/env bash
# Train on several hosts by plain ssh, where pdsh is not installed or not wanted.
#
#   launch/ssh.sh HOSTFILE RECIPE [key=value ...] [--ssh-config FILE] [--resume auto]
#
# HOSTFILE has a line for each host: NAME slots=GPUS
set -euo pipefail
if [ $# -lt 2 ]; then
  sed -n '4p' "$0" >&2
  exit 2
fi
hostfile=$1
shift
exec ptv2-scale launch "$@" --hostfile "$hostfile" --transport ssh --max-restarts 3
