"""Last-known messages on their way to one subscription."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence

from bridge.core.device_ids import Allowed
from bridge.core.telemetry import Telemetry
from bridge.fanout.history import LastKnown

Replay = Callable[[Telemetry, int], bytes]
"""A last-known message and its number → its frame."""


class Snapshot(Iterator[Sequence[bytes]]):
    """One step gives the frames of one device, made when its turn comes: what waits are ids, not messages.

    First the devices that were asked for by id, each once however often it is asked for, then all that a
    pattern covers. A device that is no longer wanted when its turn comes is passed over, and so is a message
    that came after it was asked for: it was delivered live.
    """

    def __init__(self, history: LastKnown, replay: Replay, wanted: Callable[[str], bool]) -> None:
        """``wanted`` says whether the subscription still wants a device."""
        self._history = history
        self._replay = replay
        self._wanted = wanted
        self._by_id: OrderedDict[str, int] = OrderedDict()
        self._patterns: frozenset[str] = frozenset()
        self._sweep: Iterator[tuple[str, int]] = iter(())

    def ask(self, device_ids: Iterable[str], patterns: Iterable[str], up_to: int) -> None:
        """Show these as well, up to the message ``up_to`` of all. A sweep by pattern begins anew and serves both."""
        by_id = self._by_id
        by_id.update(dict.fromkeys(device_ids, up_to))
        patterns = frozenset(patterns)
        if patterns:
            self._patterns |= patterns
            covered = Allowed(self._patterns)
            by_id.update({each: up_to for each in by_id if each in covered})
            known, asked = self._history.device_ids(), frozenset(by_id)
            self._sweep = ((each, up_to if each in covered and each not in asked else 0) for each in known)

    def __next__(self) -> Sequence[bytes]:
        if self._by_id:
            device_id, up_to = self._by_id.popitem(last=False)
        else:
            device_id, up_to = next(self._sweep)
        if not up_to or not self._wanted(device_id):
            return ()
        known = self._history.of(device_id)
        return [self._replay(each.message, each.number) for each in known if each.sequence <= up_to]
