"""The bounded queue of one socket that cannot take data right now, and what happens when it is full."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final

from bridge.core.telemetry import Kind
from bridge.fanout.gap import Gap
from bridge.fanout.rendering import Entry

_STALE_RANKS: Final = 4
"""Ranks for each device in the heap before it is made anew: those that a later one replaced are only passed over."""


class Policy(StrEnum):
    """What happens to a message that finds the outbox full."""

    LATEST = "latest"
    """Positions conflate per device as soon as they queue; when full, as DROP_OLDEST."""
    DROP_OLDEST = "drop-oldest"
    """The oldest message of the device that holds the most makes room."""
    DROP_NEWEST = "drop-newest"
    DISCONNECT = "disconnect"


class Outcome(Enum):
    """What became of one offered message."""

    QUEUED = "queued"
    CONFLATED = "conflated"
    DROPPED = "dropped"
    OVERFLOWED = "overflowed"


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """The bound of every outbox: whichever of the two is reached first."""

    messages: int
    frame_bytes: int
    policy: Policy


class _Waiting:
    """One message that waits, and the next one of its device."""

    __slots__ = ("entry", "next", "number")

    def __init__(self, entry: Entry, number: int) -> None:
        self.entry = entry
        self.number = number
        self.next: _Waiting | None = None


class _Share:
    """What one device holds of the outbox: never nothing."""

    __slots__ = ("frame_bytes", "messages", "newest", "oldest")

    def __init__(self, waiting: _Waiting) -> None:
        self.oldest = self.newest = waiting
        self.messages = 1
        self.frame_bytes = len(waiting.entry.frame)


class Outbox:
    """Messages that wait for one socket, in the order in which they will be written.

    ``offer`` never blocks and never lets the bound be passed. A single frame larger than the bound in
    bytes is dropped, whatever the policy. Losses are noted in ``gap``.

    Devices are treated fairly: what has to go is the oldest message of the device that holds the most, in
    messages or in bytes, whichever is full; of several the one whose oldest message is the oldest. To find it
    costs the logarithm of the number of devices, and nothing while nothing has to go.
    """

    __slots__ = ("_limits", "_numbers", "_rank_by_bytes", "_ranks", "_shares", "_waiting", "frame_bytes", "gap", "peak")

    def __init__(self, limits: OutboxLimits, now: float) -> None:
        """``now`` is wall-clock: the moment from which a gap will count."""
        self._limits = limits
        self._waiting: OrderedDict[int, _Waiting] = OrderedDict()
        self._shares: dict[str, _Share] = {}
        self._ranks: list[tuple[int, int, str]] | None = None
        self._rank_by_bytes = False
        self._numbers = 0
        self.frame_bytes = 0
        self.peak = 0
        self.gap = Gap(now)

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, entry: Entry) -> Outcome:
        """Queue one message, or what the policy says; OVERFLOWED means that the socket is to be closed."""
        limits, size = self._limits, len(entry.frame)
        if size > limits.frame_bytes:
            self.gap.note(entry.device_id, dropped=1)
            return Outcome.DROPPED
        if limits.policy is Policy.LATEST and entry.kind is Kind.POSITION and self._conflate(entry, size):
            self.gap.note(entry.device_id, conflated=1)
            return Outcome.CONFLATED
        outcome = Outcome.QUEUED
        while (many := len(self._waiting) >= limits.messages) or self.frame_bytes + size > limits.frame_bytes:
            if limits.policy is Policy.DISCONNECT:
                return Outcome.OVERFLOWED
            outcome = Outcome.DROPPED
            dropped = entry.device_id if limits.policy is Policy.DROP_NEWEST else self._drop_one(by_bytes=not many)
            self.gap.note(dropped, dropped=1)
            if limits.policy is Policy.DROP_NEWEST:
                return outcome
        self._append(entry, size)
        self.peak = max(self.peak, len(self._waiting))
        return outcome

    def _conflate(self, entry: Entry, size: int) -> bool:
        """Let a position take the place of the last one of its device that waits, or drop it as the older of the two.

        A later message of another kind stands between them: a position must not overtake it.
        """
        share = self._shares.get(entry.device_id)
        if share is None or share.newest.entry.kind is not Kind.POSITION:
            return False
        waiting = share.newest.entry
        if entry.taken_at < waiting.taken_at:
            return True
        grown = size - len(waiting.frame)
        if self.frame_bytes + grown > self._limits.frame_bytes:
            return False
        share.newest.entry = entry
        share.frame_bytes += grown
        self.frame_bytes += grown
        self._rank(entry.device_id, share)
        return True

    def _append(self, entry: Entry, size: int) -> None:
        self._numbers += 1
        waiting = self._waiting[self._numbers] = _Waiting(entry, self._numbers)
        self.frame_bytes += size
        share = self._shares.get(entry.device_id)
        if share is None:
            share = self._shares[entry.device_id] = _Share(waiting)
        else:
            share.newest.next = share.newest = waiting
            share.messages += 1
            share.frame_bytes += size
        self._rank(entry.device_id, share)

    def _pop(self, device_id: str) -> Entry:
        """Take out the oldest message of a device."""
        share = self._shares[device_id]
        waiting = share.oldest
        del self._waiting[waiting.number]
        size = len(waiting.entry.frame)
        self.frame_bytes -= size
        if waiting.next is None:
            del self._shares[device_id]
        else:
            share.oldest = waiting.next
            share.messages -= 1
            share.frame_bytes -= size
        return waiting.entry

    # --- whose turn it is to lose one ---------------------------------------------------------------------

    def _drop_one(self, *, by_bytes: bool) -> str:
        """Drop the oldest message of the device that holds the most; returns which device that is."""
        ranks = self._ranks
        if ranks is None or by_bytes is not self._rank_by_bytes or len(ranks) > _STALE_RANKS * len(self._shares):
            self._rank_by_bytes = by_bytes
            ranks = self._ranks = [self._ranked(device_id, share) for device_id, share in self._shares.items()]
            heapq.heapify(ranks)
        while True:
            device_id = ranks[0][2]
            share = self._shares.get(device_id)
            if share is None:
                heapq.heappop(ranks)
            elif ranks[0] != (rank := self._ranked(device_id, share)):
                heapq.heapreplace(ranks, rank)
            else:
                self._pop(device_id)
                return device_id

    def _ranked(self, device_id: str, share: _Share) -> tuple[int, int, str]:
        held = share.frame_bytes if self._rank_by_bytes else share.messages
        return (-held, share.oldest.number, device_id)

    def _rank(self, device_id: str, share: _Share) -> None:
        """A device has come to hold more: from now on it stands higher, if anyone is ranked."""
        if self._ranks is not None:
            heapq.heappush(self._ranks, self._ranked(device_id, share))

    # --- what the socket takes ----------------------------------------------------------------------------

    def take(self, max_bytes: int) -> list[bytes]:
        """The next frames to write, ``max_bytes`` in all or one frame, whichever is more."""
        self._ranks = None
        frames: list[bytes] = []
        size = 0
        while self._waiting:
            entry = next(iter(self._waiting.values())).entry
            if frames and size + len(entry.frame) > max_bytes:
                break
            frames.append(self._pop(entry.device_id).frame)
            size += len(entry.frame)
        return frames

    def retain(self, wanted: Callable[[str], object]) -> None:
        """Forget what waits for devices that are not wanted any more, and that they had a gap.

        No loss, since nobody is to have it: it is not counted. The totals of a gap stay.
        """
        for device_id in [name for name in self._shares if not wanted(name)]:
            while device_id in self._shares:
                self._pop(device_id)
        for device_id in [name for name in self.gap.devices if not wanted(name)]:
            del self.gap.devices[device_id]
