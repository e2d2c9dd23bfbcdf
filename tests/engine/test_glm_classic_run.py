"""Classic GLM on two ranks: a run on real data with a real GLM vocabulary, and sharded logits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import ranks
import yaml
from killed import kill_after, losses
from tiny import save_backbone

from ptv2_scale.backbones.glm_classic import ClassicGlm, ClassicGlmConfig

STEPS = 8


def write_backbone(material: Path, folder: Path) -> None:
    """Random weights under published names, GPT-2's vocabulary, and code that must not run."""
    folder.mkdir()
    sizes = {"num_layers": 2, "hidden_size": 32, "num_attention_heads": 4}
    config = ClassicGlmConfig(**sizes, vocab_size=50304, max_sequence_length=128)
    ClassicGlm(config).save_pretrained(folder)
    content = json.loads((folder / "config.json").read_text())
    content |= {"model_type": "glm", "auto_map": {"AutoModel": "modeling_glm.GLMModel"}}
    (folder / "config.json").write_text(json.dumps(content))
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(material / "data" / "tokenizers" / "glm" / f"gpt2-{name}", folder / name)
    settings = {
        "tokenizer_class": "GLMGPT2Tokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_glm.GLMGPT2Tokenizer", None]},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    for name in ("modeling_glm.py", "tokenization_glm.py"):
        (folder / name).write_text("raise SystemExit('the code of the folder was run')\n")


def write_recipe(material: Path, folder: Path) -> Path:
    write_backbone(material, folder / "backbone")
    rte = material / "data" / "superglue" / "RTE"
    (folder / "RTE").mkdir()
    for name, rows in (("train", 200), ("val", 40)):
        lines = (rte / f"{name}.jsonl").read_text().splitlines()[:rows]
        (folder / "RTE" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    recipe = {
        "backbone": {"name": str(folder / "backbone"), "dtype": "fp32"},
        # Longer together than the table of 128, which the text alone may fill.
        "prompt": {"length": 100, "dropout": 0.1},
        "task": {"name": "superglue/rte", "path": str(folder / "RTE"), "max_length": 128},
        "train": {"steps": STEPS, "global_batch": 8, "micro_batch": 4, "lr": 0.01},
        "evaluate": {"every": 4, "micro_batch": 8},
        "run": str(folder / "whole"),
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


@pytest.mark.timeout(900)
def test_rte_on_two_ranks_and_after_kill_9(material: Path, tmp_path: Path) -> None:
    recipe = write_recipe(material, tmp_path)
    ranks.cli(2, "train", str(recipe)).must_succeed()
    result = json.loads((tmp_path / "whole" / "result.json").read_text())
    assert result["ranks"] == 2
    kill_after(recipe, tmp_path / "killed", 2, 5)
    arguments = (str(recipe), f"run={tmp_path / 'killed'}")
    ranks.cli(2, "train", *arguments, "--resume", "auto").must_succeed()
    assert sorted(losses(tmp_path / "whole")) == list(range(1, STEPS + 1))
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    exports = [tmp_path / run / "export" / "prompt.safetensors" for run in ("whole", "killed")]
    assert exports[0].read_bytes() == exports[1].read_bytes()


def test_logits_of_a_sharded_backbone(tmp_path: Path) -> None:
    folder = save_backbone("glm_classic", tmp_path / "backbone")
    worker = ranks.worker(Path(__file__).with_name("glm_logits_worker.py"), folder)
    for output in ranks.run(2, *worker).must_succeed().outputs:
        line = next(line for line in output.splitlines() if line.startswith("LOGITS"))
        assert line.split() == ["LOGITS", "0", "0.0"]
