"""SQuAD 1.1 and 2.0, as published."""

from __future__ import annotations

from ptv2_scale.tasks.benchmarks.spec import SpanSpec

COLUMNS = ("question", "context")

V1 = SpanSpec(
    name="squad/v1",
    dataset="rajpurkar/squad",
    subset="plain_text",
    files={"train": "train-v1.1.json", "validation": "dev-v1.1.json"},
    columns=COLUMNS,
    metric="f1",
)
V2 = SpanSpec(
    name="squad/v2",
    dataset="rajpurkar/squad_v2",
    subset="squad_v2",
    files={"train": "train-v2.0.json", "validation": "dev-v2.0.json"},
    columns=COLUMNS,
    metric="f1",
    no_answer=True,
)

TASKS = (V1, V2)
