"""In PYTHONPATH of a job: steps of a run take long, until Slurm has started the job again."""

import os
import sys
import threading
import time

FROM, SECONDS = 8, 3.0  # longer in all than Slurm takes to notice a time limit


def slow_down() -> None:
    name = "ptv2_scale.engine.trainer"
    while not hasattr(sys.modules.get(name), "Trainer"):
        time.sleep(0.02)
    trainer = sys.modules[name].Trainer
    real = trainer.step

    def step(self, number, asked):  # type: ignore[no-untyped-def]
        time.sleep(SECONDS if number >= FROM else 0)
        return real(self, number, asked)

    trainer.step = step


if os.environ.get("SLURM_STEP_ID") and not os.environ.get("SLURM_RESTART_COUNT"):
    threading.Thread(target=slow_down, daemon=True).start()
