"""GLUE's CoLA, SST-2 and MRPC, as the published .tsv files have them."""

from collections.abc import Mapping

from ptv2_scale.config import Quoting
from ptv2_scale.data.splits import Split
from ptv2_scale.tasks.benchmarks.spec import ClassificationSpec

HUB = "nyu-mll/glue"
FILES: Mapping[Split, str] = {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}
QUOTING: Mapping[str, Quoting] = {".tsv": "none"}

COLA = ClassificationSpec(
    name="glue/cola",
    dataset=HUB,
    subset="cola",
    files=FILES,
    quoting=QUOTING,
    columns=("sentence",),
    labels=("0", "1"),
    metric="matthews",
    also=("accuracy",),
    hub_labels=("unacceptable", "acceptable"),
    header=("source", "label", "star", "sentence"),  # of train and dev; test has its own
)
SST2 = ClassificationSpec(
    name="glue/sst2",
    dataset=HUB,
    subset="sst2",
    files=FILES,
    quoting=QUOTING,
    columns=("sentence",),
    labels=("0", "1"),
    hub_labels=("negative", "positive"),
)
MRPC = ClassificationSpec(
    name="glue/mrpc",
    dataset=HUB,
    subset="mrpc",
    files=FILES,
    quoting=QUOTING,
    columns=("sentence1", "sentence2"),
    labels=("0", "1"),
    also=("f1",),
    hub_labels=("not_equivalent", "equivalent"),
    rename={"#1 String": "sentence1", "#2 String": "sentence2", "Quality": "label"},
)

TASKS = (COLA, SST2, MRPC)
