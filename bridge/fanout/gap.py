"""What one socket has missed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from bridge.core.limits import MAX_GAP_DEVICES


class Gap:
    """What one socket has missed since it was last sent a ``gap`` event: the next one in the making.

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
        """Count messages of one device."""
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
