"""What the ranks of a run must have read alike, before any weight is loaded."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version

from ptv2_scale.backbones.fingerprint import weight_digests
from ptv2_scale.checkpoint.compatibility import RunContent
from ptv2_scale.config.deepspeed import deepspeed_of
from ptv2_scale.distributed.agreement import Fact
from ptv2_scale.inference.exported import Export
from ptv2_scale.model.identity import example_digests
from ptv2_scale.model.setup import EncodedSplit, Setup
from ptv2_scale.runtime.run_identity import CONFIG, TOKENIZER, RowsDigest

_PACKAGES = ("ptv2_scale", "torch", "transformers", "tokenizers", "deepspeed")
_ARITHMETIC = ("torch", "transformers", "deepspeed")


def versions() -> dict[str, str]:
    """Versions of the libraries whose arithmetic the bits depend on."""
    return {name: version(name) for name in _ARITHMETIC}


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result may depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def content_of(setup: Setup, splits: Mapping[str, EncodedSplit]) -> RunContent:
    """What a run reads, for its checkpoints."""
    examples = {name: example_digests(split.examples) for name, split in splits.items()}
    rows = {name: RowsDigest.of(digests) for name, digests in examples.items()}
    identity = replace(setup.identity, rows=rows)
    return RunContent(setup.config, setup.fingerprint, identity, examples)


def run_facts(setup: Setup, content: RunContent) -> dict[str, Fact]:
    """What all ranks of a run must have alike."""
    facts = _backbone_facts(setup)
    for name, rows in content.identity.rows.items():
        place = setup.task.place(name)  # type: ignore[arg-type]
        facts[f"the rows of task.{name}"] = Fact(f"{rows.examples} examples {rows.sha256}", place)
    return facts


def serving_facts(exports: Sequence[Export]) -> dict[str, Fact]:
    """What all ranks that run exports must have alike."""
    facts = _backbone_facts(exports[0].setup)
    for export in exports:
        facts[f"the export {export.name}"] = Fact(_digest(asdict(export.card)))
    return facts


def _backbone_facts(setup: Setup) -> dict[str, Fact]:
    config, files = setup.config, setup.files
    identity = setup.identity
    # Hosts may keep the same things in other places.
    recipe = config.model_dump(
        mode="json",
        exclude={
            "backbone": {"name", "tokenizer"},
            "task": {"path"},
            "run": True,
            "deepspeed": True,
        },
    )
    facts = {f"the version of {name}": Fact(version(name)) for name in _PACKAGES}
    facts |= {
        "the recipe": Fact(_digest(recipe), "the recipe and its overrides"),
        "the DeepSpeed configuration": Fact(_digest(deepspeed_of(config)), str(config.deepspeed)),
        CONFIG: Fact(identity.config, str(files.folder / "config.json")),
        TOKENIZER: Fact(identity.tokenizer, config.backbone.tokenizer or str(files.folder)),
    }
    for path, digest in weight_digests(files).items():
        facts[f"the weights in {path.name}"] = Fact(digest, str(path))
    return facts


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
