"""Commands that read and write files, on one host and without a run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ptv2_scale.cli.recipe import load
from ptv2_scale.runtime.errors import UserError


def export(arguments: argparse.Namespace) -> int:
    """Write what a run has trained into a folder, in our own or in PEFT's format."""
    from ptv2_scale.export.from_run import export_run
    from ptv2_scale.export.peft import export_peft

    source, target = Path(arguments.source), Path(arguments.target)
    if arguments.format == "native":
        export_run(source, target, arguments.backbone, arguments.overrides, arguments.task)
    elif arguments.backbone or arguments.overrides or arguments.task:
        raise UserError(
            "--format peft: is made from a finished export alone, which nothing is changed in."
            " Export with --backbone, --task and overrides first, and then that folder with"
            " --format peft."
        )
    else:
        export_peft(source, target)
    print(target)
    return 0


def inspect(arguments: argparse.Namespace) -> int:
    """Show which part of the model a recipe trains, and how many parameters that are."""
    from ptv2_scale.cli.inspection import describe, described_as_json

    config, _ = load(arguments)
    print(json.dumps(described_as_json(config)) if arguments.json else describe(config))
    return 0


def convert(arguments: argparse.Namespace) -> int:
    """Convert a backbone's folder to safetensors shards, in bounded memory."""
    from ptv2_scale.backbones.convert import Conversion, convert
    from ptv2_scale.runtime.progress import Progress

    target = Path(arguments.target)
    convert(Conversion(Path(arguments.source), arguments.dtype), target, Progress())
    print(target)
    return 0


def schema(arguments: argparse.Namespace) -> int:
    """Print the JSON schema of recipes or of sweep files, for editors; or a page of all keys."""
    if arguments.markdown:
        if arguments.what == "sweep":
            raise UserError("--markdown: makes the page of a recipe's keys; leave out 'sweep'.")
        from ptv2_scale.config.reference import markdown

        print(markdown(), end="")
        return 0
    if arguments.what == "sweep":
        from ptv2_scale.sweep.config import json_schema as made
    else:
        from ptv2_scale.config.schema import json_schema as made

    print(json.dumps(made(), indent=1))
    return 0
