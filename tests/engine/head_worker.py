"""One rank: the best of all learning rates of a head, where each rate is its own score."""

from __future__ import annotations

from ptv2_scale.engine.head_baseline import best_over_ranks
from ptv2_scale.engine.join import start, stop

print("FOUND", best_over_ranks(lambda rates: [max(rates), -min(rates)], start(1)), flush=True)
stop()
