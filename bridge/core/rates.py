"""How often something may happen, and how often it is logged. Time comes in as an argument."""

from __future__ import annotations

import math
from typing import Final

EPISODE_SECONDS: Final = 60.0
"""Between two lines in the log about events of one kind."""


class TokenBucket:
    """``rate`` tokens per second, at most ``burst`` saved up. ``rate`` 0 means no limit."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float) -> bool:
        """Take one token; False when there is none. ``now`` is monotonic seconds."""
        if not self._rate:
            return True
        if not self.has(now):
            return False
        self._tokens -= 1
        return True

    def has(self, now: float) -> bool:
        """Whether ``take`` would be true."""
        if not self._rate:
            return True
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return self._tokens >= 1


class Episodes:
    """Which of many like events get a line in the log: the first of each cause, and after EPISODE_SECONDS the next."""

    def __init__(self) -> None:
        self._logged: dict[str, tuple[float, int]] = {}

    def due(self, cause: str, count: int, now: float) -> int:
        """How many of ``cause`` there were since its last line, now that one is due; 0 while none is.

        ``count`` are all until now, ``now`` is monotonic seconds.
        """
        at, logged = self._logged.get(cause, (-math.inf, 0))
        if now - at < EPISODE_SECONDS:
            return 0
        self._logged[cause] = (now, count)
        return count - logged
