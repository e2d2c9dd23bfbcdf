"""What all ranks say, as one text: what several of them say alike is shown once."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

GATHER_S = 0.3  # in which others may say the same
REPEAT_S = 5.0  # in which others may repeat the first rank
_MOST = 4096  # lines kept

_TAGGED = re.compile(r"\[(\S+) rank ([0-9]{1,9})\] (.*)", re.DOTALL)


@dataclass
class _Said:
    """A line that is kept for a moment."""

    text: str
    since: float
    who: dict[int, str]


class LogMerger:
    """Lines of all ranks in, lines for people out.

    Lines of the first rank carry no tag and are shown at once. Others' lines carry one, see
    `ptv2_scale.runtime.rank_output`; they are shown with it, and not where the first rank said
    the same.
    """

    def __init__(self) -> None:
        self._waiting: deque[_Said] = deque()
        self._shown: deque[tuple[str, float]] = deque(maxlen=_MOST)

    def add(self, line: str, now: float) -> Iterator[str]:
        """Take a line in; gives what can be shown.

        Args:
            line: with its end.
            now: seconds on any clock that only goes forward.
        """
        tagged = _TAGGED.fullmatch(line)
        if tagged is None:
            self._shown.append((line, now))
            self._waiting = deque(said for said in self._waiting if said.text != line)
            yield line
        elif not self._repeats(tagged[3], now):
            self._keep(tagged[3], int(tagged[2]), tagged[1], now)
        yield from self.tick(now)

    def _repeats(self, text: str, now: float) -> bool:
        while self._shown and now - self._shown[0][1] > REPEAT_S:
            self._shown.popleft()
        return not text.strip() or any(text == shown for shown, _ in self._shown)

    def _keep(self, text: str, rank: int, host: str, now: float) -> None:
        for said in reversed(self._waiting):
            if rank in said.who:  # its lines stay in their order
                break
            if said.text == text:
                said.who[rank] = host
                return
        self._waiting.append(_Said(text, now, {rank: host}))

    def tick(self, now: float) -> Iterator[str]:
        """What has waited long enough."""
        while self._waiting and (
            now - self._waiting[0].since > GATHER_S or len(self._waiting) > _MOST
        ):
            yield _line(self._waiting.popleft())

    def finish(self) -> Iterator[str]:
        """All that is left."""
        while self._waiting:
            yield _line(self._waiting.popleft())


def _line(said: _Said) -> str:
    who = sorted(said.who.items())
    hosts = (
        f"{host} {_ranks([rank for rank, _ in group])}"
        for host, group in groupby(who, key=lambda one: one[1])
    )
    return f"[{', '.join(hosts)}] {said.text}"


def _ranks(ranks: list[int]) -> str:
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    spans: list[list[int]] = []
    for rank in ranks:
        if spans and rank == spans[-1][-1] + 1:
            spans[-1][1:] = [rank]
        else:
            spans.append([rank])
    return "ranks " + ", ".join("-".join(map(str, span)) for span in spans)
