"""The last-known messages of every device: what a new subscriber is shown at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from bridge.core.limits import FUTURE_SECONDS, HISTORY_BYTES, MAX_KNOWN_DEVICES
from bridge.core.telemetry import Telemetry

_AHEAD: Final = -2.0
_UNDATED: Final = -1.0
"""Stand for the time of a fix that tells nothing: it lies too far ahead, or is a retained copy without one."""
_MICROSECONDS: Final = 1_000_000


class Remembered(NamedTuple):
    """One message, and what was noted when it came."""

    sequence: int
    """Its place in the stream of all messages."""
    number: int
    """Counts the messages of its device."""
    message: Telemetry
    received_monotonic: float
    """Seconds of the monotonic clock."""


@dataclass(frozen=True, slots=True)
class HistoryStatistics:
    """``devices`` now and at most, the bytes of their payloads, and how many devices were forgotten since start."""

    devices: int
    limit: int
    payload_bytes: int
    forgotten: int


class _Device:
    """What is known of one device: how many messages it sent, its newest fix and its newest other message."""

    __slots__ = ("fix", "number", "other", "taken_at")

    def __init__(self, number: int) -> None:
        self.number = number
        self.fix: Remembered | None = None
        self.taken_at = 0.0
        """Of ``fix``: wall-clock seconds, as far as they can be believed."""
        self.other: Remembered | None = None


class LastKnown:
    """The newest fix and the newest other message of each device.

    Bounded in devices and in payload bytes; when full, the device that has been silent longest is
    forgotten.
    """

    def __init__(self, *, max_devices: int = MAX_KNOWN_DEVICES, max_bytes: int = HISTORY_BYTES) -> None:
        # Ordered by when a device was last heard; a plain dict would be searched from its start to find the first.
        self._devices: OrderedDict[str, _Device] = OrderedDict()
        self._max_devices = max_devices
        self._max_bytes = max_bytes
        self._bytes = 0
        self._forgotten = 0
        self._forgotten_number = 0
        self._began_monotonic: float | None = None
        self._device_ids: tuple[str, ...] | None = ()

    def remember(self, sequence: int, message: Telemetry, now: float, received_monotonic: float) -> int:
        """Keep ``message`` if nothing newer of its device is known; returns which one of that device it is.

        ``now`` is the wall clock. A message without a fix takes the place of the last one without. A fix takes the
        place of one that was not taken later, ``now`` being the latest that either can have been: neither a device's
        clock that was ahead nor ours that was set back pins an old one. A device's clock that falls behind does, until
        it is right again. A retained copy must be newer than what came live. A fix that lies more than FUTURE_SECONDS
        ahead never takes the place of one that does not.

        Numbers count from 1. Once a device was forgotten, those of a device that is not known begin at the
        microseconds of this run: no number comes twice, and none tells of another device.
        """
        device = self._devices.get(message.device_id)
        if device is None:
            device = self._devices[message.device_id] = _Device(self._first_number(received_monotonic))
            self._device_ids = None
        else:
            self._devices.move_to_end(message.device_id)
        device.number = number = device.number + 1
        if message.fix is None:
            before, device.other = device.other, Remembered(sequence, number, message, received_monotonic)
        else:
            before, time = device.fix, message.fix.time
            at = time if time is not None and time <= now else taken_at(message, now)
            if before is not None and at <= device.taken_at:
                known_at = min(device.taken_at, now)
                repeats = at == known_at and message.retained and not before.message.retained
                if at < known_at or repeats:
                    return number
            device.fix, device.taken_at = Remembered(sequence, number, message, received_monotonic), at
        self._bytes += len(message.payload) - (len(before.message.payload) if before else 0)
        while len(self._devices) > self._max_devices or (self._bytes > self._max_bytes and len(self._devices) > 1):
            self._forget(next(iter(self._devices)))
        return number

    def __contains__(self, device_id: str) -> bool:
        return device_id in self._devices

    def of(self, device_id: str) -> Iterable[Remembered]:
        """What is known of one device, the oldest message first. Empty when nothing is."""
        device = self._devices.get(device_id)
        return sorted(kept for kept in (device.fix, device.other) if kept is not None) if device else ()

    def device_ids(self) -> tuple[str, ...]:
        """All devices that are known now. One tuple for all who ask, until a device comes or goes."""
        if self._device_ids is None:
            self._device_ids = tuple(self._devices)
        return self._device_ids

    def statistics(self) -> HistoryStatistics:
        """Where things stand."""
        return HistoryStatistics(len(self._devices), self._max_devices, self._bytes, self._forgotten)

    def _first_number(self, monotonic: float) -> int:
        """Where the numbers of a device begin that is not known; it may have been forgotten."""
        if self._began_monotonic is None:
            self._began_monotonic = monotonic
        if not self._forgotten:
            return 0
        return max(int((monotonic - self._began_monotonic) * _MICROSECONDS), self._forgotten_number)

    def _forget(self, device_id: str) -> None:
        device = self._devices.pop(device_id)
        self._bytes -= sum(len(kept.message.payload) for kept in (device.fix, device.other) if kept)
        self._forgotten += 1
        self._forgotten_number = max(self._forgotten_number, device.number)
        self._device_ids = None


def taken_at(message: Telemetry, now: float) -> float:
    """When the fix of ``message``, received at ``now`` (wall-clock), was taken, as far as that can be believed.

    Only to be compared: what cannot be believed at all counts as older than everything else. 0 without a fix.
    """
    fix = message.fix
    if fix is None:
        return 0.0
    if fix.time is not None and fix.time > now + FUTURE_SECONDS:
        return _AHEAD
    if fix.time is None and message.retained:
        return _UNDATED
    return fix.taken_at(now)
