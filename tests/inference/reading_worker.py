"""One rank: rows that name their exports, answered on a backbone that ZeRO-3 shards.

Arguments: file of rows, folders of exports. The first rank prints the answers as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ptv2_scale.engine.join import start, stop
from ptv2_scale.engine.serving import sharded_predictor
from ptv2_scale.inference.exported import open_export

rows = json.loads(Path(sys.argv[1]).read_text())
ranks = start(cpu_threads=1)
exports = [open_export(Path(one), None, ["deepspeed=zero3"]) for one in sys.argv[2:]]
answers = sharded_predictor(exports, ranks).predict(rows)
if ranks.rank == 0:
    print(json.dumps(answers))
stop()
