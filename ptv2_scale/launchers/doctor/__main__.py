"""What runs on a host: reads a question or a meeting as JSON, and answers on one line.

python -m ptv2_scale.launchers.doctor look|meet
"""

from __future__ import annotations

import sys

from ptv2_scale.launchers.doctor.facts import Meeting, Question, dump, parse
from ptv2_scale.launchers.doctor.host_facts import look
from ptv2_scale.launchers.doctor.network_probe import meet


def _answer(action: str, asked: bytes) -> bytes:
    if action == "look":
        question = parse(Question, asked)
        assert question is not None
        return dump(look(question))
    meeting = parse(Meeting, asked)
    assert meeting is not None
    return dump(meet(meeting))


if __name__ == "__main__":
    answer = _answer(sys.argv[1], sys.stdin.buffer.read())
    sys.stdout.buffer.write(answer + b"\n")
    sys.stdout.flush()
