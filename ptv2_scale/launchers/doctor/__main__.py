"""What runs on a host: reads a question as JSON, and answers on one line.

python -m ptv2_scale.launchers.doctor host_facts|network_probe
"""

from __future__ import annotations

import sys

from ptv2_scale.launchers.doctor.facts import HostQuery, NetworkProbe, dump, parse
from ptv2_scale.launchers.doctor.host_facts import host_facts
from ptv2_scale.launchers.doctor.network_probe import probe_network


def _answer(action: str, asked: bytes) -> bytes:
    if action == "host_facts":
        query = parse(HostQuery, asked)
        assert query is not None
        return dump(host_facts(query))
    probe = parse(NetworkProbe, asked)
    assert probe is not None
    return dump(probe_network(probe))


if __name__ == "__main__":
    answer = _answer(sys.argv[1], sys.stdin.buffer.read())
    sys.stdout.buffer.write(answer + b"\n")
    sys.stdout.flush()
