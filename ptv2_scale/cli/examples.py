"""The end of `--help`: examples that work as they stand where their recipes are, and exit codes."""

from __future__ import annotations

# Recipes are those of `ptv2-scale recipes`; names of runs and folders are the reader's own.
EXAMPLES = (
    "ptv2-scale train demo",
    "ptv2-scale train recipes/minilm-rte.yaml backbone.name=./minilm task.path=./RTE train.lr=5e-3",
    "ptv2-scale launch recipes/llm/qwen3-8b.yaml --nproc 8 --max-restarts 3 --resume auto",
    "ptv2-scale launch recipes/paper/glm-10b/rte.yaml --hostfile hosts --dry-run --json",
    "ptv2-scale sweep demo",
    "ptv2-scale sweep status demo",
    "ptv2-scale runs",
    "ptv2-scale runs compare runs/one runs/two",
    "ptv2-scale runs clean runs/one",
    "ptv2-scale plot runs/one runs/two --output curves.png",
    "ptv2-scale recipes",
    "ptv2-scale completion bash > ptv2-scale.bash",
    "ptv2-scale recipes copy minilm-sst2",
    "ptv2-scale inspect recipes/paper/t5-11b/rte.yaml",
    "ptv2-scale plan recipes/paper/glm-10b/rte.yaml --gpus-per-host 8 --gpu-memory 80",
    "ptv2-scale inspect recipes/paper/t5-11b/rte.yaml --json",
    "ptv2-scale doctor recipes/paper/glm-10b/rte.yaml --hostfile hosts",
    "ptv2-scale fetch recipes/paper/glm-10b/rte.yaml --hostfile hosts",
    "ptv2-scale evaluate runs/demo --split validation",
    "ptv2-scale predict runs/rte --input new.jsonl --output labelled.jsonl",
    "ptv2-scale predict runs/rte --input RTE/test.jsonl --output submission --format superglue",
    "ptv2-scale generate runs/chat --input new.jsonl --output answered.jsonl --num-beams 4",
    "ptv2-scale generate runs/one runs/two --input new.jsonl --output drawn.jsonl --top-p 0.9",
    "ptv2-scale export runs/rte ./rte-peft --format peft",
    "ptv2-scale convert ./glm-10b ./glm-10b-safetensors",
    "ptv2-scale schema > recipe.schema.json",
)
EXIT_CODES = """exit codes:
  0    done
  2    the input is wrong: one message says what, and nothing was overwritten
  3    a rank or a host failed
  75   stopped by a request, with everything saved: run the same command again
  130  ended at once by a second SIGINT (Ctrl-C)"""


def epilog(command: str) -> str:
    """The end of a command's `--help`."""
    own = [one for one in EXAMPLES if one.split()[1] == command]
    shown = ["examples:", *(f"  {one}" for one in own), ""] if own else []
    return "\n".join([*shown, EXIT_CODES])


def top_epilog() -> str:
    """The end of `ptv2-scale --help`: the first example of each command."""
    first = {one.split()[1]: one for one in reversed(EXAMPLES)}
    shown = [f"  {one}" for one in EXAMPLES if one in first.values()]
    wide = ["  deepspeed --num_gpus 8 --module ptv2_scale train demo --resume auto"]
    more = ["", "`ptv2-scale help COMMAND` has more of each.", ""]
    return "\n".join(["examples:", *shown, *wide, *more, EXIT_CODES])
