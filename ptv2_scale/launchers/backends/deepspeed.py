"""DeepSpeed's own launcher of a host's ranks."""

from __future__ import annotations

import base64
import json
import sys

from ptv2_scale.launchers.backends.base import NodeStart, RankBackend


class DeepSpeed(RankBackend):
    """`deepspeed.launcher.launch`; hosts may have different numbers of ranks."""

    name = "deepspeed"
    picks_devices = True

    def render(self, start: NodeStart) -> list[str]:
        """See `RankBackend`."""
        group = start.group
        world = {host.name: list(start.devices or range(host.slots)) for host in group.hosts}
        info = base64.urlsafe_b64encode(json.dumps(world).encode()).decode()
        return [
            *(sys.executable, "-m", "deepspeed.launcher.launch"),
            *(f"--world_info={info}", f"--node_rank={start.node}"),
            *(f"--master_addr={group.master}", f"--master_port={group.port}"),
            *("--log_level=critical", "--module", "ptv2_scale", *group.train),
        ]
