"""The bounded queue of one socket that cannot take data right now, and what happens when it is full."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any

from bridge.core.limits import MAX_GAP_DEVICES
from bridge.core.telemetry import Kind


class Policy(StrEnum):
    """What happens to a message that finds the outbox full."""

    LATEST = "latest"
    """Positions conflate per device as soon as they queue; when full the oldest message is dropped."""
    DROP_OLDEST = "drop-oldest"
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


class Gap:
    """What one socket has missed since it was last told: the ``gap`` event in the making.

    At most MAX_GAP_DEVICES devices are counted by name; the totals hold all. ``incomplete`` says that more
    was lost than could be counted by device, some of it perhaps this socket's.
    """

    __slots__ = ("conflated", "devices", "dropped", "incomplete", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.dropped = 0
        self.conflated = 0
        self.devices: Counter[str] = Counter()
        self.incomplete = False

    def __bool__(self) -> bool:
        return bool(self.dropped or self.conflated or self.incomplete)

    def note(self, device_id: str, *, dropped: int = 0, conflated: int = 0) -> None:
        self.dropped += dropped
        self.conflated += conflated
        if device_id in self.devices or len(self.devices) < MAX_GAP_DEVICES:
            self.devices[device_id] += dropped + conflated

    def data(self, since_text: str) -> Mapping[str, Any]:
        """The ``data`` of the event; ``since_text`` is ``since`` as RFC 3339."""
        data = {
            "count": self.dropped + self.conflated,
            "dropped": self.dropped,
            "conflated": self.conflated,
            "devices": dict(self.devices),
            "since": since_text,
        }
        return {**data, "incomplete": True} if self.incomplete else data


class _Entry:
    __slots__ = ("device_id", "frame")

    def __init__(self, device_id: str, frame: bytes) -> None:
        self.device_id = device_id
        self.frame = frame


class Outbox:
    """Frames that wait for one socket, in the order in which they will be written.

    ``offer`` never blocks and never lets the bound be passed. A single frame larger than the bound in
    bytes is dropped, whatever the policy. Losses are noted in ``gap``.
    """

    __slots__ = ("_entries", "_latest", "_limits", "frame_bytes", "gap", "peak")

    def __init__(self, limits: OutboxLimits, now: float) -> None:
        """``now`` is wall-clock: the moment from which a gap will count."""
        self._limits = limits
        self._entries: deque[_Entry] = deque()
        self._latest: dict[str, _Entry] = {}
        self.frame_bytes = 0
        self.peak = 0
        self.gap = Gap(now)

    def __len__(self) -> int:
        return len(self._entries)

    def offer(self, device_id: str, kind: Kind, frame: bytes) -> Outcome:
        """Queue one message, or what the policy says; OVERFLOWED means that the socket is to be closed."""
        limits = self._limits
        if len(frame) > limits.frame_bytes:
            self.gap.note(device_id, dropped=1)
            return Outcome.DROPPED
        if limits.policy is Policy.LATEST and kind is Kind.POSITION:
            waiting = self._latest.get(device_id)
            if waiting is not None and self.frame_bytes - len(waiting.frame) + len(frame) <= limits.frame_bytes:
                self.frame_bytes += len(frame) - len(waiting.frame)
                waiting.frame = frame
                self.gap.note(device_id, conflated=1)
                return Outcome.CONFLATED
        outcome = Outcome.QUEUED
        while len(self._entries) >= limits.messages or self.frame_bytes + len(frame) > limits.frame_bytes:
            if limits.policy is Policy.DISCONNECT:
                return Outcome.OVERFLOWED
            outcome = Outcome.DROPPED
            if limits.policy is Policy.DROP_NEWEST:
                self.gap.note(device_id, dropped=1)
                return outcome
            self.gap.note(self._pop().device_id, dropped=1)
        entry = _Entry(device_id, frame)
        self._entries.append(entry)
        self.frame_bytes += len(frame)
        self.peak = max(self.peak, len(self._entries))
        if kind is Kind.POSITION:
            self._latest[device_id] = entry
        else:
            # A later position must not overtake this message: it starts an entry of its own.
            self._latest.pop(device_id, None)
        return outcome

    def take(self, max_bytes: int) -> list[bytes]:
        """The next frames to write, ``max_bytes`` in all or one frame, whichever is more."""
        frames: list[bytes] = []
        size = 0
        while self._entries and (not frames or size + len(self._entries[0].frame) <= max_bytes):
            frame = self._pop().frame
            frames.append(frame)
            size += len(frame)
        return frames

    def retain(self, wanted: Callable[[str], object]) -> None:
        """Forget what waits for devices that are not wanted any more, and that they had a gap.

        No loss, since nobody is to have it: it is not counted. The totals of a gap stay.
        """
        self._entries = deque(entry for entry in self._entries if wanted(entry.device_id))
        self._latest = {device_id: entry for device_id, entry in self._latest.items() if wanted(device_id)}
        self.frame_bytes = sum(len(entry.frame) for entry in self._entries)
        for device_id in [name for name in self.gap.devices if not wanted(name)]:
            del self.gap.devices[device_id]

    def _pop(self) -> _Entry:
        entry = self._entries.popleft()
        self.frame_bytes -= len(entry.frame)
        if self._latest.get(entry.device_id) is entry:
            del self._latest[entry.device_id]
        return entry
