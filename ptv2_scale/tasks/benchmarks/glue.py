"""GLUE's tasks, as the published .tsv files have them.

The patterns are GLM's (THUDM/GLM, tasks/superglue/pvp.py: number 0 of CoLA, SST-2, QQP and QNLI, 1
of MRPC); CoLA's and SST-2's are also those of LM-BFF (Gao et al., ACL 2021). MNLI, RTE and WNLI
have those of SuperGLUE's CB and RTE there, for MNLI's own have a column behind the blank.
"""

from collections.abc import Mapping

from ptv2_scale.config import Quoting
from ptv2_scale.data.splits import Split
from ptv2_scale.tasks.benchmarks.spec import ClassificationSpec, RegressionSpec

HUB = "nyu-mll/glue"
FILES: Mapping[Split, str] = {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}
QUOTING: Mapping[str, Quoting] = {".tsv": "none"}
ENTAILMENT = ("entailment", "not_entailment")

COLA = ClassificationSpec(
    name="glue/cola",
    dataset=HUB,
    subset="cola",
    files=FILES,
    quoting=QUOTING,
    submits={"test.tsv": "CoLA.tsv"},
    columns=("sentence",),
    labels=("0", "1"),
    metric="matthews",
    also=("accuracy",),
    hub_labels=("unacceptable", "acceptable"),
    pattern='"{sentence}" This is {mask}.',
    words=("incorrect", "correct"),
    header=("source", "label", "star", "sentence"),  # of train and dev; test has its own
)
SST2 = ClassificationSpec(
    name="glue/sst2",
    dataset=HUB,
    subset="sst2",
    files=FILES,
    quoting=QUOTING,
    submits={"test.tsv": "SST-2.tsv"},
    columns=("sentence",),
    labels=("0", "1"),
    hub_labels=("negative", "positive"),
    pattern="{sentence} It was {mask}.",
    words=("terrible", "great"),
)
MRPC = ClassificationSpec(
    name="glue/mrpc",
    dataset=HUB,
    subset="mrpc",
    files=FILES,
    quoting=QUOTING,
    submits={"test.tsv": "MRPC.tsv"},
    columns=("sentence1", "sentence2"),
    labels=("0", "1"),
    also=("f1",),
    hub_labels=("not_equivalent", "equivalent"),
    pattern="{sentence1} Does it mean that {sentence2}? {mask}",
    words=("No", "Yes"),
    rename={"#1 String": "sentence1", "#2 String": "sentence2", "Quality": "label"},
)
QQP = ClassificationSpec(
    name="glue/qqp",
    dataset=HUB,
    subset="qqp",
    files=FILES,
    quoting=QUOTING,
    skip_short=True,  # of the training file a few rows
    submits={"test.tsv": "QQP.tsv"},
    columns=("question1", "question2"),
    labels=("0", "1"),
    also=("f1",),
    hub_labels=("not_duplicate", "duplicate"),
    pattern="{question1} Do you mean {question2} {mask}.",
    words=("No", "Yes"),
    rename={"is_duplicate": "label"},
)
STSB = RegressionSpec(
    name="glue/stsb",
    dataset=HUB,
    subset="stsb",
    files=FILES,
    quoting=QUOTING,
    submits={"test.tsv": "STS-B.tsv"},
    columns=("sentence1", "sentence2"),
    metric="pearson",
    also=("spearman",),
    rename={"score": "label"},
    least=0.0,
    most=5.0,
)


def _mnli(name: str, part: str) -> ClassificationSpec:
    """MNLI, with the validation and test rows of one of its two parts."""
    return ClassificationSpec(
        name=name,
        dataset=HUB,
        subset="mnli",
        files={
            "train": "train.tsv",
            "validation": f"dev_{part}.tsv",
            "test": f"test_{part}.tsv",
        },
        hub_splits={"validation": f"validation_{part}", "test": f"test_{part}"},
        quoting=QUOTING,
        submits={
            f"test_{part}.tsv": "MNLI-m.tsv" if part == "matched" else "MNLI-mm.tsv",
            "test_matched.tsv": "MNLI-m.tsv",
            "test_mismatched.tsv": "MNLI-mm.tsv",
            "diagnostic.tsv": "AX.tsv",
        },
        columns=("premise", "hypothesis"),
        labels=("entailment", "neutral", "contradiction"),
        pattern="{premise} question: {hypothesis} true, false or neither? answer: {mask}",
        words=("true", "neither", "false"),
        rename={"sentence1": "premise", "sentence2": "hypothesis", "gold_label": "label"},
    )


MNLI = _mnli("glue/mnli", "matched")
MNLI_MISMATCHED = _mnli("glue/mnli_mismatched", "mismatched")
QNLI = ClassificationSpec(
    name="glue/qnli",
    dataset=HUB,
    subset="qnli",
    files=FILES,
    quoting=QUOTING,
    submits={"test.tsv": "QNLI.tsv"},
    columns=("question", "sentence"),
    labels=ENTAILMENT,
    pattern="{sentence} Question: {question} Do you know the answer? {mask}.",
    words=("Yes", "No"),
)
RTE = ClassificationSpec(
    name="glue/rte",
    dataset=HUB,
    subset="rte",
    files=FILES,
    quoting=QUOTING,
    submits={"test.tsv": "RTE.tsv"},
    columns=("sentence1", "sentence2"),
    labels=ENTAILMENT,
    pattern="{sentence1} question: {sentence2} True or False? answer: {mask}",
    words=("true", "false"),
)
WNLI = ClassificationSpec(
    name="glue/wnli",
    dataset=HUB,
    subset="wnli",
    files=FILES,
    quoting=QUOTING,
    submits={"test.tsv": "WNLI.tsv"},
    columns=("sentence1", "sentence2"),
    labels=("0", "1"),
    hub_labels=("not_entailment", "entailment"),
    pattern="{sentence1} question: {sentence2} True or False? answer: {mask}",
    words=("false", "true"),
)

TASKS = (COLA, SST2, MRPC, QQP, STSB, MNLI, MNLI_MISMATCHED, QNLI, RTE, WNLI)
