"""Moments at which something must happen by the wall clock: the end of credentials.

One timer for all. It looks at the wall clock at least once a second, so a clock that is set, or a
machine that slept, is noticed then. ``enforce`` is also called before every turn's writes: nothing is
delivered past a deadline even when the loop was late.
"""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Callable, Hashable
from typing import Final

from bridge.core.limits import RECHECK_SECONDS
from bridge.core.times import Timer

log = logging.getLogger("bridge.stream.deadlines")
_COMPACT_AT_LEAST: Final = 64


class Deadlines:
    """At most one deadline for each key. ``clock`` is wall-clock seconds; ``call_later`` the loop's."""

    def __init__(
        self,
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Timer],
        recheck_seconds: float = RECHECK_SECONDS,
    ) -> None:
        self._recheck_seconds = recheck_seconds
        self._clock = clock
        self._call_later = call_later
        self._heap: list[tuple[float, int, Hashable]] = []
        self._current: dict[Hashable, tuple[int, Callable[[], None]]] = {}
        self._numbers = itertools.count()
        self._timer: Timer | None = None
        self._timer_at = 0.0

    def set(self, key: Hashable, at: float, callback: Callable[[], None]) -> None:
        """Call ``callback`` once at wall-clock ``at``, in the place of what was set for ``key`` before."""
        number = next(self._numbers)
        self._current[key] = (number, callback)
        heapq.heappush(self._heap, (at, number, key))
        self._compact()
        self._arm()

    def discard(self, key: Hashable) -> None:
        """Forget the deadline of ``key``, if there is one."""
        self._current.pop(key, None)
        self._compact()

    def _compact(self) -> None:
        """Let go of what was replaced or discarded once it is most of the heap."""
        if len(self._heap) > _COMPACT_AT_LEAST + 2 * len(self._current):
            self._heap = [entry for entry in self._heap if self._is_current(entry)]
            heapq.heapify(self._heap)

    def enforce(self) -> None:
        """Run what is due. A callback may set and discard deadlines; one that raises is our bug, and costs no other.

        Nothing is raised here: a turn's telemetry must not be lost over the end of one stream.
        """
        heap = self._heap
        if not heap or heap[0][0] > self._clock():
            return
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            if self._is_current(entry):
                try:
                    self._current.pop(entry[2])[1]()
                except Exception:
                    log.exception("What was due at a deadline failed: a bug, please report it")
        if self._timer is not None:  # made for a clock that may have been set since: it can be late for what is next
            self._timer.cancel()
            self._timer = None
        self._arm()

    def __len__(self) -> int:
        return len(self._current)

    def _is_current(self, entry: tuple[float, int, Hashable]) -> bool:
        current = self._current.get(entry[2])
        return current is not None and current[0] == entry[1]

    def _arm(self) -> None:
        if not self._heap:
            return
        at = self._heap[0][0]
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._call_later(min(max(at - self._clock(), 0.0), self._recheck_seconds), self._fire)

    def _fire(self) -> None:
        self._timer = None
        self.enforce()
        if self._timer is None:
            self._arm()
