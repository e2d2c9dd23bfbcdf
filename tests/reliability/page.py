"""Make docs/reliability.md of what the tests and the benchmark have seen.

python tests/reliability/page.py SEEN.json TALLY.json BENCHMARK.md > docs/reliability.md
"""

from __future__ import annotations

import json
import platform
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

Row = dict[str, Any]

TEXT = Path(__file__).with_suffix(".md")


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def kill_table(rows: list[Row]) -> str:
    tried = Counter((row["point"], row["ranks"]) for row in rows)
    survived = Counter((row["point"], row["ranks"]) for row in rows if row["survived"])
    lines = [
        (point, ranks, survived[point, ranks], count) for (point, ranks), count in tried.items()
    ]
    total = ("**all**", "", sum(survived.values()), sum(tried.values()))
    return table(("point", "killed", "survived", "tried"), [*lines, total])


def damage_table(rows: list[Row]) -> str:
    files = sorted({row["file"] for row in rows})
    found: Counter[tuple[str, str]] = Counter()
    tried: Counter[tuple[str, str]] = Counter()
    for row in rows:
        found[row["harm"], row["file"]] += row["found"]
        tried[row["harm"], row["file"]] += row["of"]
    lines = [
        (harm, *(f"{found[harm, file]} of {tried[harm, file]}" for file in files))
        for harm in dict.fromkeys(row["harm"] for row in rows)
    ]
    return table(("harm", *(f"`{file}`" for file in files)), lines)


def ranks_table(rows: list[Row]) -> str:
    worst = {(row["dtype"], row["saved"], row["resumed"]): row["worst"] for row in rows}
    resumed = sorted({row["resumed"] for row in rows})
    lines = [
        (dtype, saved, *(f"{worst[dtype, saved, other]:.1e}" for other in resumed))
        for dtype, saved in dict.fromkeys((row["dtype"], row["saved"]) for row in rows)
    ]
    return table(("dtype", "saved on", *(f"resumed on {other}" for other in resumed)), lines)


def plain_table(rows: list[Row]) -> str:
    headings = list(rows[0])
    return table(headings, [[row[heading] for heading in headings] for row in rows])


def versions() -> str:
    names = ("torch", "transformers", "deepspeed")
    return ", ".join(f"{name} {version(name)}" for name in names)


def machine() -> str:
    memory = Path("/proc/meminfo").read_text().split()[1]
    return f"{platform.machine()}, {_cores()} CPU cores, {int(memory) // 2**20} GiB"


def _cores() -> int:
    return Path("/proc/cpuinfo").read_text().count("processor\t:")


def hostile_table(tally: dict[str, Row]) -> str:
    kinds = {kind: row for kind, row in tally.items() if kind != "control"}
    lines = [(kind, row["tried"], row["refused"]) for kind, row in kinds.items()]
    total = ("**all**", *(sum(line[place] for line in lines) for place in (1, 2)))
    return table(("input", "tried", "refused"), [*lines, total])


def page(seen: dict[str, list[Row]], tally: dict[str, Row], benchmark: str) -> str:
    return TEXT.read_text().format(
        date=date.today().isoformat(),
        machine=machine(),
        versions=versions(),
        kill=kill_table(seen["kill"]),
        damage=damage_table(seen["damage"]),
        rank_steps=seen["ranks"][0]["steps"],
        ranks=ranks_table(seen["ranks"]),
        stop=plain_table(seen["stop"]),
        watchdog=plain_table(seen["watchdog"]),
        disk=plain_table(seen["disk"]),
        numbers=plain_table(seen["numbers"]),
        hostile=hostile_table(tally),
        # Without what libraries print beside it.
        benchmark="\n".join(line for line in benchmark.splitlines() if line.startswith("|")),
    )


if __name__ == "__main__":
    seen, tally = (json.loads(Path(name).read_text()) for name in sys.argv[1:3])
    print(page(seen, tally, Path(sys.argv[3]).read_text()), end="")
