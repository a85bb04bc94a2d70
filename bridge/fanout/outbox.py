"""The bounded queue of one socket that cannot take data right now, and what happens when it is full."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum

from bridge.core.telemetry import Kind
from bridge.fanout.gap import Gap
from bridge.fanout.ranking import Claim, Ranking
from bridge.fanout.rendering import Entry


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
    """One message that waits, its neighbours in the queue, and the next one of its device.

    Links instead of a dictionary in order: those are 190 bytes for each message, more than most frames have.
    """

    __slots__ = ("entry", "newer", "next", "number", "older")

    def __init__(self, entry: Entry, number: int, older: _Waiting | None) -> None:
        self.entry = entry
        self.number = number
        self.older = older
        self.newer: _Waiting | None = None
        self.next: _Waiting | None = None


class _Share:
    """What one device holds of the outbox: never nothing. ``fix`` is the last of its positions, if one waits."""

    __slots__ = ("fix", "frame_bytes", "messages", "newest", "oldest")

    def __init__(self, waiting: _Waiting) -> None:
        self.oldest = self.newest = waiting
        self.fix = waiting if waiting.entry.kind is Kind.POSITION else None
        self.messages = 1
        self.frame_bytes = len(waiting.entry.frame)


def _by_messages(device_id: str, share: _Share, more: int) -> Claim:
    return (-share.messages - more, share.oldest.number, device_id)


def _by_bytes(device_id: str, share: _Share, more: int) -> Claim:
    return (-share.frame_bytes - more, share.oldest.number, device_id)


_Measure = Callable[[str, _Share, int], Claim]


class Outbox:
    """Messages that wait for one socket, in the order in which they will be written.

    ``offer`` never blocks and never lets the bound be passed. A single frame larger than the bound in
    bytes is dropped, whatever the policy. Losses are noted in ``gap``.

    Devices are treated fairly: what has to go is the oldest message of the device that holds the most, in
    messages or in bytes, whichever is full, the new one counted with those of its device that wait; of several the
    one whose oldest message is the oldest. To find it costs the logarithm of the number of devices, and nothing
    while nothing has to go.
    """

    __slots__ = (
        "_count", "_limits", "_newest", "_numbers", "_oldest", "_rankings", "_shares", "frame_bytes", "gap", "peak",
    )  # fmt: skip

    def __init__(self, limits: OutboxLimits, now: float) -> None:
        """``now`` is wall-clock: the moment from which a gap will count."""
        self._limits = limits
        self._oldest: _Waiting | None = None
        self._newest: _Waiting | None = None
        self._count = 0
        self._shares: dict[str, _Share] = {}
        self._rankings: dict[_Measure, Ranking[_Share]] = {}
        self._numbers = 0
        self.frame_bytes = 0
        self.peak = 0
        self.gap = Gap(now)

    def __len__(self) -> int:
        return self._count

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
        while (many := self._count >= limits.messages) or self.frame_bytes + size > limits.frame_bytes:
            if limits.policy is Policy.DISCONNECT:
                return Outcome.OVERFLOWED
            if limits.policy is Policy.DROP_NEWEST:
                self.gap.note(entry.device_id, dropped=1)
                return Outcome.DROPPED
            if many:
                self._drop_one(_by_messages, 1, entry.device_id)
            else:
                self._drop_one(_by_bytes, size, entry.device_id)
            outcome = Outcome.DROPPED
        self._append(entry, size)
        self.peak = max(self.peak, self._count)
        return outcome

    def _conflate(self, entry: Entry, size: int) -> bool:
        """Let a position take the place of the last one of its device that waits, or drop it as the older of the two.

        Where a later message of another kind stands between them it takes no place: a position must not overtake it.
        """
        share = self._shares.get(entry.device_id)
        if share is None or share.fix is None:
            return False
        waiting = share.fix.entry
        if entry.taken_at < waiting.taken_at:
            return True
        if share.fix is not share.newest:
            return False
        grown = size - len(waiting.frame)
        if self.frame_bytes + grown > self._limits.frame_bytes:
            return False
        share.newest.entry = entry
        share.frame_bytes += grown
        self.frame_bytes += grown
        self._grown(entry.device_id)
        return True

    def _append(self, entry: Entry, size: int) -> None:
        self._numbers += 1
        older = self._newest
        waiting = self._newest = _Waiting(entry, self._numbers, older)
        if older is None:
            self._oldest = waiting
        else:
            older.newer = waiting
        self._count += 1
        self.frame_bytes += size
        share = self._shares.get(entry.device_id)
        if share is None:
            share = self._shares[entry.device_id] = _Share(waiting)
        else:
            share.newest.next = share.newest = waiting
            if entry.kind is Kind.POSITION:
                share.fix = waiting
            share.messages += 1
            share.frame_bytes += size
        self._grown(entry.device_id)

    def _drop_one(self, measure: _Measure, more: int, device_id: str) -> None:
        """Drop the oldest message of the device that holds the most, where one of ``device_id`` has come."""
        ranking = self._rankings.get(measure)
        if ranking is None:
            ranking = self._rankings[measure] = Ranking(self._shares, measure)
        dropped = ranking.first(device_id, more)
        self._pop(dropped)
        self.gap.note(dropped, dropped=1)

    def _grown(self, device_id: str) -> None:
        for ranking in self._rankings.values():
            ranking.grown(device_id)

    def _pop(self, device_id: str) -> Entry:
        """Take out the oldest message of a device."""
        share = self._shares[device_id]
        waiting = share.oldest
        older, newer = waiting.older, waiting.newer
        if older is None:
            self._oldest = newer
        else:
            older.newer = newer
        if newer is None:
            self._newest = older
        else:
            newer.older = older
        self._count -= 1
        size = len(waiting.entry.frame)
        self.frame_bytes -= size
        if waiting.next is None:
            del self._shares[device_id]
        else:
            share.oldest = waiting.next
            if share.fix is waiting:
                share.fix = None
            share.messages -= 1
            share.frame_bytes -= size
        return waiting.entry

    # --- what the socket takes ----------------------------------------------------------------------------

    def take(self, max_bytes: int) -> list[bytes]:
        """The next frames to write, ``max_bytes`` in all or one frame, whichever is more."""
        frames: list[bytes] = []
        size = 0
        while self._oldest is not None:
            entry = self._oldest.entry
            if frames and size + len(entry.frame) > max_bytes:
                break
            frames.append(self._pop(entry.device_id).frame)
            size += len(entry.frame)
        return frames

    def clear(self) -> None:
        """Let go of everything at once. The queue is not used any more, and its links would keep it alive."""
        waiting, self._oldest, self._newest, self._count, self.frame_bytes = self._oldest, None, None, 0, 0
        self._shares.clear()
        while waiting is not None:
            waiting.older, waiting = None, waiting.newer

    def retain(self, wanted: Callable[[str], object]) -> None:
        """Forget what waits for devices that are not wanted any more, and that they had a gap.

        No loss, since nobody is to have it: it is not counted. The totals of a gap stay.
        """
        for device_id in [name for name in self._shares if not wanted(name)]:
            while device_id in self._shares:
                self._pop(device_id)
        for device_id in [name for name in self.gap.devices if not wanted(name)]:
            del self.gap.devices[device_id]
