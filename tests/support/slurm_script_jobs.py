"""Jobs of Slurm, from the plainest to one with all settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ptv2_scale.config import Slurm
from ptv2_scale.launchers.forwarded_env import Variables
from ptv2_scale.launchers.slurm_script import SlurmJob

PLAIN = SlurmJob(
    settings=Slurm(),
    run=Path("runs/rte"),
    folder=Path("/home/me/work"),
    train=("train", "rte.yaml"),
    resume="never",
    variables=Variables({}),
    python="/opt/python",
)
FULL = replace(
    PLAIN,
    settings=Slurm(
        nodes=4, gpus_per_node=8, partition="gpu", account="nlp", qos="long", time="2-00:00:00",
        constraint="a100&nvlink", mem="0", cpus_per_task=12, warning="5m", requeues=3,
        setup=["module load cuda/12.4", "source ~/venv/bin/activate"],
    ),
    train=("train", "my recipes/rte.yaml", "train.lr=1e-2", "backbone.name=$(id)'s \"model\""),
    resume="auto",
    variables=Variables({"NCCL_DEBUG": "INFO", "HF_HOME": "/data/a b"}, {"HF_TOKEN": "hf_secret"}),
    doctor=True,
)  # fmt: skip
JOBS = {
    "plain": PLAIN,
    "full": FULL,
    "node": replace(
        FULL, settings=FULL.settings.model_copy(update={"launcher": "node"}), doctor=False
    ),
    "array": replace(
        PLAIN,
        trials=(("train.lr=1e-2", "run=runs/rte-0000"), ("task.text=a b", "run=runs/rte-0001")),
    ),
}
