"""Pings for all sockets by one timer, and the end of those that show no sign of life."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

from bridge.core.limits import PONG_SECONDS, PULSE_TICK_SECONDS


class Member(Protocol):
    """A socket with a pulse. Neither may raise."""

    def ping(self) -> None:
        """Send a ping."""

    def check_pulse(self) -> None:
        """PONG_SECONDS after ``ping``, or shortly before the next one if that is sooner: end the socket if
        nothing was heard since."""


class Heartbeat:
    """A wheel of slots, one per tick of the period. A member's first ping comes after half to one period,
    by chance, so that sockets that came together are not pinged together."""

    def __init__(
        self,
        period: float,
        call_later: Callable[[float, Callable[[], None]], object],
        *,
        pong_seconds: float = PONG_SECONDS,
        tick_seconds: float = PULSE_TICK_SECONDS,
    ) -> None:
        """``period`` is seconds from ping to ping, ``pong_seconds`` from a ping to the look for a sign of life."""
        self._call_later = call_later
        self._tick_seconds = tick_seconds
        count = max(2, round(period / tick_seconds))
        self._slots: list[dict[Member, None]] = [{} for _ in range(count)]
        self._pong_ticks = min(round(pong_seconds / tick_seconds), count - 1)
        self._now = 0
        self._slot_of: dict[Member, int] = {}
        self._running = False

    def __len__(self) -> int:
        return len(self._slot_of)

    def add(self, member: Member) -> None:
        """Ping ``member`` until ``discard``."""
        count = len(self._slots)
        slot = (self._now + count // 2 + int(random.random() * (count - count // 2))) % count  # noqa: S311 - spreading load, not a secret
        self._slots[slot][member] = None
        self._slot_of[member] = slot
        if not self._running:
            self._running = True
            self._call_later(self._tick_seconds, self._tick)

    def discard(self, member: Member) -> None:
        """No more pings. Harmless for one that is not here."""
        slot = self._slot_of.pop(member, None)
        if slot is not None:
            self._slots[slot].pop(member, None)

    def _tick(self) -> None:
        self._running = bool(self._slot_of)
        if not self._running:
            return
        self._call_later(self._tick_seconds, self._tick)
        self._now = (self._now + 1) % len(self._slots)
        for member in list(self._slots[self._now - self._pong_ticks]):
            member.check_pulse()
        for member in list(self._slots[self._now]):
            member.ping()
