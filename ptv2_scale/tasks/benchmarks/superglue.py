"""SuperGLUE's tasks, in the text formats of P-Tuning v2.

The patterns are PET's (timoschick/pet, pet/pvp.py; Schick and Schütze, NAACL 2021) with GLM's
spaces (THUDM/GLM, tasks/superglue/pvp.py): RTE's and CB's number 4, BoolQ's 0, WiC's 1. No column
stands behind the blank in them, so that causal models can read them, too.
"""

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
    submits={"test.jsonl": "BoolQ.jsonl"},
    columns=("question", "passage"),
    labels=("false", "true"),
    hub_labels=("False", "True"),
    pattern="{passage} Question: {question}? Answer: {mask}.",
    words=("No", "Yes"),
)
CB = ClassificationSpec(
    name="superglue/cb",
    dataset=HUB,
    subset="cb",
    files=FILES,
    submits={"test.jsonl": "CB.jsonl"},
    columns=("premise", "hypothesis"),
    labels=("entailment", "contradiction", "neutral"),
    also=("f1_macro",),
    pattern="{premise} question: {hypothesis} true, false or neither? answer: {mask}",
    words=("true", "false", "neither"),
)
RTE = ClassificationSpec(
    name="superglue/rte",
    dataset=HUB,
    subset="rte",
    files=FILES,
    # The diagnostic sets are for RTE's models, in its form but for AX-b's names of the columns.
    submits={one: one.replace("test", "RTE") for one in ("test.jsonl", "AX-b.jsonl", "AX-g.jsonl")},
    rename={"sentence1": "premise", "sentence2": "hypothesis"},
    columns=("premise", "hypothesis"),
    labels=("entailment", "not_entailment"),
    pattern="{premise} question: {hypothesis} True or False? answer: {mask}",
    words=("true", "false"),
)
WIC = ClassificationSpec(
    name="superglue/wic",
    dataset=HUB,
    subset="wic",
    files=FILES,
    submits={"test.jsonl": "WiC.jsonl"},
    columns=("sentence1", "sentence2", "word"),
    labels=("false", "true"),
    templates=("{sentence1} {sentence2} Does {word} have the same meaning in both sentences?",),
    hub_labels=("False", "True"),
    pattern="{sentence1} {sentence2} Does {word} have the same meaning in both sentences? {mask}",
    words=("No", "Yes"),
)
COPA = ChoiceSpec(
    name="superglue/copa",
    dataset=HUB,
    subset="copa",
    files=FILES,
    submits={"test.jsonl": "COPA.jsonl"},
    columns=("premise", "question", "choice1", "choice2"),
    choose="one",
    read=candidates.copa,
    submit=candidates.submit_copa,
)
MULTIRC = ChoiceSpec(
    name="superglue/multirc",
    dataset=HUB,
    subset="multirc",
    files=FILES,
    submits={"test.jsonl": "MultiRC.jsonl"},
    columns=("passage",),
    metric="f1a",
    choose="any",
    read=candidates.multirc,
    submit=candidates.submit_multirc,
    several=True,
)
RECORD = ChoiceSpec(
    name="superglue/record",
    dataset=HUB,
    subset="record",
    files=FILES,
    submits={"test.jsonl": "ReCoRD.jsonl"},
    columns=("passage",),
    metric="f1",
    choose="best",
    read=candidates.record,
    submit=candidates.submit_record,
    several=True,
)
WSC = ClassificationSpec(
    name="superglue/wsc",
    dataset=HUB,
    subset="wsc.fixed",
    files=FILES,
    submits={"test.jsonl": "WSC.jsonl"},
    columns=("text", "span1_text", "span2_text"),
    inside="target",
    templates=("{span2_text}: {text}", "{span1_text}"),
    labels=("false", "true"),
    hub_labels=("False", "True"),
    submitted=("False", "True"),
)

TASKS = (BOOLQ, CB, COPA, MULTIRC, RECORD, RTE, WIC, WSC)
