"""SuperGLUE's tasks, in the text formats of P-Tuning v2."""

from collections.abc import Mapping

from ptv2_scale.data.splits import Split
from ptv2_scale.tasks.benchmarks import candidates
from ptv2_scale.tasks.benchmarks.spec import ChoiceSpec, ClassificationSpec

HUB = "aps/super_glue"
FILES: Mapping[Split, str] = {
    "train": "train.jsonl",
    "validation": "val.jsonl",
    "test": "test.jsonl",
}

BOOLQ = ClassificationSpec(
    name="superglue/boolq",
    dataset=HUB,
    subset="boolq",
    files=FILES,
    columns=("question", "passage"),
    labels=("false", "true"),
    hub_labels=("False", "True"),
)
CB = ClassificationSpec(
    name="superglue/cb",
    dataset=HUB,
    subset="cb",
    files=FILES,
    columns=("premise", "hypothesis"),
    labels=("entailment", "contradiction", "neutral"),
    also=("f1_macro",),
)
RTE = ClassificationSpec(
    name="superglue/rte",
    dataset=HUB,
    subset="rte",
    files=FILES,
    columns=("premise", "hypothesis"),
    labels=("entailment", "not_entailment"),
)
WIC = ClassificationSpec(
    name="superglue/wic",
    dataset=HUB,
    subset="wic",
    files=FILES,
    columns=("sentence1", "sentence2", "word"),
    labels=("false", "true"),
    template="{sentence1} {sentence2} Does {word} have the same meaning in both sentences?",
    hub_labels=("False", "True"),
)
COPA = ChoiceSpec(
    name="superglue/copa",
    dataset=HUB,
    subset="copa",
    files=FILES,
    columns=("premise", "question", "choice1", "choice2"),
    choose="one",
    read=candidates.copa,
)
MULTIRC = ChoiceSpec(
    name="superglue/multirc",
    dataset=HUB,
    subset="multirc",
    files=FILES,
    columns=("passage",),
    metric="f1a",
    choose="any",
    read=candidates.multirc,
    several=True,
)
RECORD = ChoiceSpec(
    name="superglue/record",
    dataset=HUB,
    subset="record",
    files=FILES,
    columns=("passage",),
    metric="f1",
    choose="best",
    read=candidates.record,
    several=True,
)

TASKS = (BOOLQ, CB, COPA, MULTIRC, RECORD, RTE, WIC)
