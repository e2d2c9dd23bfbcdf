"""Named entities and semantic roles, with the files and tags of P-Tuning v2's own pack of data.

Their licences leave most of them off the hub, or there only as code that loads them.
"""

from __future__ import annotations

from collections.abc import Mapping

from ptv2_scale.data.splits import Split
from ptv2_scale.tasks.benchmarks.spec import TaggingSpec


def _files(train: str, validation: str, test: str) -> Mapping[Split, str]:
    return {"train": train, "validation": validation, "test": test}


def _pairs(*types: str) -> tuple[str, ...]:
    """O, and the tags of IOB2 type by type."""
    return ("O", *(f"{mark}-{one}" for one in types for mark in "BI"))


CONLL2003 = TaggingSpec(
    name="ner/conll2003",
    dataset=None,
    subset=None,
    files=_files("train.txt", "valid.txt", "test.txt"),
    columns=("tokens",),
    metric="f1",
    labels=_pairs("PER", "ORG", "LOC", "MISC"),
    tags="ner_tags",
)
CONLL04 = TaggingSpec(
    name="ner/conll04",
    dataset=None,
    subset=None,
    files=_files("train.txt", "dev.txt", "test.txt"),
    columns=("tokens",),
    metric="f1",
    labels=_pairs("Loc", "Peop", "Org", "Other"),
    tags="ner_tags",
)
ONTONOTES5 = TaggingSpec(
    name="ner/ontonotes5",
    dataset=None,
    subset=None,
    files=_files("train.sd.conllx", "dev.sd.conllx", "test.sd.conllx"),
    columns=("tokens",),
    metric="f1",
    labels=_pairs(
        *("CARDINAL", "DATE", "EVENT", "FAC", "GPE", "LANGUAGE", "LAW", "LOC", "MONEY", "NORP"),
        *("ORDINAL", "ORG", "PERCENT", "PERSON", "PRODUCT", "QUANTITY", "TIME", "WORK_OF_ART"),
    ),
    tags="ner_tags",
    word_column=2,
)
WNUT17 = TaggingSpec(
    name="ner/wnut17",
    dataset=None,
    subset=None,
    files=_files("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"),
    columns=("tokens",),
    metric="f1",
    labels=_pairs("corporation", "creative-work", "group", "location", "person", "product"),
    tags="ner_tags",
)
# Which roles there are is what training has: the lists of P-Tuning v2's code have slips.
CONLL2005 = TaggingSpec(
    name="srl/conll2005",
    dataset=None,
    subset=None,
    # The second test is task.test: conll05.test.brown.txt.
    files=_files("conll05.train.txt", "conll05.devel.txt", "conll05.test.wsj.txt"),
    columns=("tokens", "index"),
    metric="f1",
    predicate="index",
    layout="predicates",
)
CONLL2012 = TaggingSpec(
    name="srl/conll2012",
    dataset=None,
    subset=None,
    files=_files("conll2012.train.txt", "conll2012.devel.txt", "conll2012.test.txt"),
    columns=("tokens", "index"),
    metric="f1",
    predicate="index",
    layout="predicates",
)
DEMO_TAGS = TaggingSpec(  # embedded: ptv2_scale/demo/more_tasks.py
    name="demo-tags",
    dataset=None,
    subset=None,
    files={"train": "train.jsonl", "validation": "validation.jsonl"},
    columns=("tokens",),
    metric="f1",
)

TASKS = (CONLL2003, CONLL04, ONTONOTES5, WNUT17, CONLL2005, CONLL2012, DEMO_TAGS)
