"""Waiting no longer than so many seconds for many things at once, with one timer for all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from itertools import takewhile
from typing import Generic, TypeVar

from bridge.core.times import Timer

T = TypeVar("T", bound=Hashable)


class Timeouts(Generic[T]):
    """Each member has ``seconds`` from its ``add``; then it is removed and ``expired`` is called with it.

    What waits costs an entry in a dictionary and no look: the one that was added first is due first.
    """

    def __init__(
        self,
        seconds: float,
        expired: Callable[[T], None],
        *,
        monotonic: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Timer],
    ) -> None:
        """``expired`` must not raise. It may add and discard."""
        self.seconds = seconds
        self._expired = expired
        self._monotonic = monotonic
        self._call_later = call_later
        self._deadlines: dict[T, float] = {}
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return len(self._deadlines)

    def __contains__(self, member: T) -> bool:
        return member in self._deadlines

    def __iter__(self) -> Iterator[T]:
        """The members, the one that is due first at the front."""
        return iter(self._deadlines)

    def add(self, member: T) -> None:
        """Give ``member`` its time, from now on, whatever it had before."""
        self._deadlines.pop(member, None)
        self._deadlines[member] = self._monotonic() + self.seconds
        self._arm()

    def discard(self, member: T) -> None:
        """What was waited for has come, or is not waited for any more."""
        self._deadlines.pop(member, None)

    def _arm(self) -> None:
        if self._timer is None and self._deadlines:
            first = next(iter(self._deadlines.values()))
            self._timer = self._call_later(max(first - self._monotonic(), 0.0), self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._monotonic()
        due = [member for member, _ in takewhile(lambda each: each[1] <= now, self._deadlines.items())]
        try:
            for member in due:
                if self._deadlines.get(member, math.inf) <= now:  # an earlier one may have discarded or renewed it
                    del self._deadlines[member]
                    self._expired(member)
        finally:
            self._arm()
