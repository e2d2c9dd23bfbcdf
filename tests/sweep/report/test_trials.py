"""Every trial is a row, whatever it has."""

from __future__ import annotations

from sweep_trials import trial

from ptv2_scale.sweep.report.trials import trial_rows


def test_a_trial_has_all_its_columns() -> None:
    trials = [
        trial({"method": "a"}, 0.7, metrics={"f1": 0.6}, steps=5),
        trial({"size": "b"}, None, seed=2, params={"prompt.layers": [1, 2], "x": True}),
    ]
    header, *rows = trial_rows(trials)
    first, second = (dict(zip(header, row, strict=True)) for row in rows)
    assert (first["axes.method"], first["axes.size"], first["params.train.lr"]) == ("a", None, 0.01)
    assert (first["metrics.f1"], first["score"], first["steps"]) == (0.6, 0.7, 5)
    assert (second["params.prompt.layers"], second["params.x"]) == ("[1, 2]", "True")
    assert (second["state"], second["reason"], second["seed"]) == ("failed", "out of memory", 2)
    assert (second["exit_code"], second["score"], second["run"]) == (3, None, "runs")
