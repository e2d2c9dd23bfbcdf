"""How much of a model ZeRO-3 has gathered at once: its rules, played on the order of modules."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate

from ptv2_scale.estimate.passes import ModuleUse
from ptv2_scale.estimate.zero import ZeroSettings


def most_gathered(
    uses: Sequence[ModuleUse],
    sizes: Sequence[int],
    persistent: frozenset[int],
    zero: ZeroSettings,
) -> int:
    """Elements of gathered weights that are in memory at once, persistent ones among them.

    Autograd keeps none of them: what a backward pass needs is gathered again (engine/regather.py).

    Args:
        uses: modules in the order in which a step runs them.
        sizes: elements of each parameter.
        persistent: numbers of those that are never given back.
        zero: the configuration.
    """
    uses = with_whole_layers(uses, sizes, zero)
    state = _Gathered(uses, sizes, persistent, zero)
    state.begin()
    for step in range(len(uses)):
        state.run(step)
    return state.most + sum(sizes[number] for number in persistent)


def with_whole_layers(
    uses: Sequence[ModuleUse], sizes: Sequence[int], zero: ZeroSettings
) -> list[ModuleUse]:
    """The same order of modules, in which layers that are gathered whole are one use each.

    The repeated forward pass of such a layer needs no gather of its own: DeepSpeed gathers the
    layer before its backward pass, in which PyTorch repeats the forward pass, and what is inside of
    the layer gathers nothing.

    Args:
        uses: modules in the order in which they run.
        sizes: elements of each parameter.
        zero: the configuration.
    """
    members: dict[int, dict[int, None]] = defaultdict(dict)
    for use in uses:
        if use.layer is not None:
            members[use.layer].update(dict.fromkeys(use.parameters))
    whole = {
        layer: tuple(own)
        for layer, own in members.items()
        if zero.gathers_whole(sum(sizes[one] for one in own))
    }
    found: list[ModuleUse] = []
    backward = False
    for use in uses:
        backward |= use.backward
        if use.layer is None or use.layer not in whole:
            found.append(use)
            continue
        joined = ModuleUse(whole[use.layer], backward, use.layer)
        if found[-1:] != [joined]:
            found.append(joined)
    return found


class _Gathered:
    """DeepSpeed's coordinator of one step whose order of modules is known.

    Several parameters that are gathered at once come in one buffer, and each is copied out of it
    when a module first needs one of them; the buffer goes when modules have needed all of them.
    """

    def __init__(
        self,
        uses: Sequence[ModuleUse],
        sizes: Sequence[int],
        persistent: frozenset[int],
        zero: ZeroSettings,
    ) -> None:
        self._sizes, self._zero = sizes, zero
        self._own = [[one for one in use.parameters if one not in persistent] for use in uses]
        self._before = [0, *accumulate(self._elements(own) for own in self._own)]
        self._queue = [(step, one) for step, own in enumerate(self._own) for one in own]
        self._steps: dict[int, list[int]] = defaultdict(list)
        for step, one in self._queue:
            self._steps[one].append(step)
        self._next = 0  # place in the queue
        self._seen: dict[int, int] = {}  # last use up to which the queue has been looked at
        self._gathers: list[list[int]] = []
        self._gathered: dict[int, int] = {}  # parameter -> number of its gather
        self._waiting: dict[int, set[int]] = {}  # gather -> those that no module has needed yet
        self._copied: set[int] = set()  # gathers whose parameters are out of their buffer
        self.most = 0

    def begin(self) -> None:
        """Look ahead from the model itself, which runs before any of its modules."""
        self._look_ahead(-1)
        self._note()

    def run(self, step: int) -> None:
        """Gather, look ahead, note the most, and give back."""
        own = self._own[step]
        self._gather([one for one in own if one not in self._gathered])
        self._copied.update(self._gathered[one] for one in own)
        self._note()
        for one in own:
            self._waiting.get(self._gathered[one], set()).discard(one)
        self._look_ahead(step)
        self._note()
        for one in own:
            if not self._is_reused(one, step):
                del self._gathered[one]

    def _elements(self, parameters: Iterable[int]) -> int:
        return sum(self._sizes[one] for one in parameters)

    def _gather(self, new: list[int]) -> None:
        if not new:
            return
        number = len(self._gathers)
        self._gathers.append(new)
        self._gathered.update(dict.fromkeys(new, number))
        if len(new) > 1:  # one alone is its own buffer
            self._waiting[number] = set(new)

    def _look_ahead(self, step: int) -> None:
        while self._next < len(self._queue) and self._queue[self._next][0] <= step:
            self._next += 1
        room = self._zero.most_live - self._elements(self._gathered)
        room, new = min(room, self._zero.ahead), dict[int, None]()
        while self._next < len(self._queue) and self._elements(new) < room:
            later, one = self._queue[self._next]
            if one not in self._gathered:
                new[one] = None
            self._seen[one] = max(self._seen.get(one, 0), later)
            self._next += 1
        self._gather(list(new))

    def _is_reused(self, one: int, step: int) -> bool:
        """Whether a parameter is used again soon, or its next use has been counted on already."""
        if self._seen.get(one, -1) > step:
            return True
        steps = self._steps[one]
        place = bisect_right(steps, step)
        if place == len(steps):
            return False
        return self._before[steps[place]] - self._before[step + 1] < self._zero.reuse

    def _note(self) -> None:
        buffers = (self._gathers[number] for number, left in self._waiting.items() if left)
        out = (
            one
            for one, number in self._gathered.items()
            if number not in self._waiting or number in self._copied
        )
        self.most = max(self.most, sum(map(self._elements, buffers)) + self._elements(out))
