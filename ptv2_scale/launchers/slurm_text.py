"""The text of a Slurm job's script, part by part."""

from __future__ import annotations

import base64
import json

MADE_BY = "# Made by `ptv2-scale launch --slurm`."

ABOUT = f"""\
#
{MADE_BY} To submit it again: sbatch THIS-FILE
# --export names the secrets that come along from the submitting shell; the rest is set below, on
# top of the user's login environment. A job that Slurm starts again goes on by itself."""

MEETING_PLACE = """\
# Where ranks meet: the first node, and a port that no other job of that node has.
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT=$((20000 + SLURM_JOB_ID % 12000))
export MASTER_ADDR MASTER_PORT"""

RESUME = """\
resume={resume}
if ((restarts > 0)); then resume=auto; fi"""

STOPPING = """\
# Before the time limit Slurm sends USR1 to this shell alone. srun passes it on to the ranks, but
# not while it starts them: it is told until it ends. Ranks then save, and end with 75.
# TERM (scancel, preemption, scontrol requeue) reaches ranks from Slurm itself, which knows
# whether the job comes back.
restarts=${{SLURM_RESTART_COUNT:-0}}
warned=false ended=false child=
# shellcheck disable=SC2317 # traps call it
tell() {{ while kill -USR1 "$child"; do sleep 5; done 2>/dev/null & }}
trap 'warned=true; tell' USR1
trap 'ended=true; tell' TERM

# Runs a command in the background: a trap waits for one in the foreground.
follow() {{
  "$@" &
  child=$!
  if [[ $warned == true ]]; then tell; fi
  while kill -0 "$child" 2>/dev/null; do wait "$child"; done
  wait "$child"
}}

# 75: stopped with everything saved. 138: the warning came when there was nothing to save yet; a
# second time it will come as early again.
# --requeue alone does not bring back a job that has met its time limit.
finish() {{
  if [[ $warned == true && $1 == 138 && $restarts -gt 0 ]]; then
    echo "job $SLURM_JOB_ID: the time limit leaves no time to start (slurm.time, slurm.warning)" >&2
    exit 3
  fi
  if [[ $ended == false && ($1 == 75 || ($warned == true && $1 == 138)) ]]; then
    if ((restarts < {requeues})); then
      scontrol requeue "$SLURM_JOB_ID"
    else
      echo "job $SLURM_JOB_ID: not queued again, after $restarts times (slurm.requeues)" >&2
    fi
  fi
  exit "$1"
}}"""

# --export=ALL: else srun passes on no more than sbatch was told to.
_SRUN = "follow srun --export=ALL --kill-on-bad-exit=1{options} "

RANKS = (
    _SRUN
    + """\\
  {python} -m ptv2_scale "${{train[@]}}" --resume "$resume"
finish $?"""
)

_NODES = (
    """\
# On each node an agent, which starts DeepSpeed's launcher there and stays with its ranks.
# Its words: this Python, the run directory, and the arguments of ptv2-scale.
# shellcheck disable=SC2016 # expanded on the node
agent='run=$1; shift
exec "$0" -m ptv2_scale.launchers.node_agent run \\
  "slurm-$SLURM_JOB_ID-${{SLURM_RESTART_COUNT:-0}}" "$SLURM_NODEID" --run "$run" -- \\
  "$0" -m deepspeed.launcher.launch --world_info={world} \\
  --node_rank="$SLURM_NODEID" --master_addr="$MASTER_ADDR" --master_port="$MASTER_PORT" \\
  --log_level=critical --module ptv2_scale "$@"'
"""
    + _SRUN
    + """\\
  bash -c "$agent" {python} {run} "${{train[@]}}" --resume "$resume"
finish $?"""
)


def nodes(count: int, ranks: int, options: str, python: str, run: str) -> str:
    """The start of one launcher a node.

    Args:
        count: of nodes.
        ranks: of a node.
        options: for srun.
        python: quoted.
        run: the run directory, quoted.
    """
    world = {f"node{number}": list(range(ranks)) for number in range(count)}
    coded = base64.urlsafe_b64encode(json.dumps(world).encode()).decode()
    return _NODES.format(options=options, python=python, run=run, world=coded)


def doctor(python: str, ranks: int) -> str:
    """The check of all nodes before the ranks start; what is in their way ends the job.

    Args:
        python: quoted.
        ranks: of a node, which may come from the command line of the launch.
    """
    return (
        f'follow {python} -m ptv2_scale doctor "${{train[@]:1}}" slurm.ranks_per_node={ranks} \\\n'
        "  --slurm || finish $?"
    )
