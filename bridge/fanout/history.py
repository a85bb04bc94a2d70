"""The last-known messages of every device: what a new subscriber is shown at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from bridge.core.limits import HISTORY_BYTES, MAX_KNOWN_DEVICES
from bridge.core.telemetry import Kind, Telemetry


class Remembered(NamedTuple):
    """One message, its place in the stream of all messages, and when it came (monotonic: a clock that nobody sets)."""

    sequence: int
    number: int
    message: Telemetry
    received_monotonic: float


@dataclass(frozen=True, slots=True)
class HistoryStatistics:
    devices: int
    limit: int
    payload_bytes: int
    forgotten: int


class LastKnown:
    """The newest position and the newest other message of each device.

    Bounded in devices and in payload bytes; when full, the device that has been silent longest is
    forgotten.
    """

    def __init__(self, *, max_devices: int = MAX_KNOWN_DEVICES, max_bytes: int = HISTORY_BYTES) -> None:
        # Ordered by when a device was last heard; a plain dict would be searched from its start to find the first.
        self._devices: OrderedDict[str, dict[Kind, Remembered]] = OrderedDict()
        self._max_devices = max_devices
        self._max_bytes = max_bytes
        self._bytes = 0
        self._forgotten = 0
        self._device_ids: tuple[str, ...] | None = ()

    def remember(self, sequence: int, message: Telemetry, now: float, received_monotonic: float) -> int:
        """Keep ``message`` in the place of the device's last one of its kind."""
        device = self._devices.get(message.device_id)
        if device is None:
            device = self._devices[message.device_id] = {}
            self._device_ids = None
        else:
            self._devices.move_to_end(message.device_id)
        before = device.get(message.kind)
        device[message.kind] = Remembered(sequence, sequence, message, received_monotonic)
        self._bytes += len(message.payload) - (len(before.message.payload) if before else 0)
        while len(self._devices) > self._max_devices or (self._bytes > self._max_bytes and len(self._devices) > 1):
            self._forget(next(iter(self._devices)))
        return sequence

    def of(self, device_id: str) -> Iterable[Remembered]:
        """What is known of one device, the oldest message first. Empty when nothing is."""
        return sorted(self._devices.get(device_id, {}).values())

    def device_ids(self) -> tuple[str, ...]:
        """All devices that are known now. One tuple for all who ask, until a device comes or goes."""
        if self._device_ids is None:
            self._device_ids = tuple(self._devices)
        return self._device_ids

    def statistics(self) -> HistoryStatistics:
        return HistoryStatistics(len(self._devices), self._max_devices, self._bytes, self._forgotten)

    def _forget(self, device_id: str) -> None:
        self._bytes -= sum(len(kept.message.payload) for kept in self._devices.pop(device_id).values())
        self._forgotten += 1
        self._device_ids = None
