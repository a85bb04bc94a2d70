"""What the consumer is told, and what it tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bridge.checks import MqttAddress

CONNECT_SECONDS: Final = 5.0
"""For TCP and TLS to the MQTT broker, and again for CONNACK and SUBACK to arrive."""
TICK_SECONDS: Final = 0.5
"""Longest wait in the selector; paho's keep-alive check runs at least so often."""


@dataclass(frozen=True, slots=True)
class ConsumerOptions:
    """How to reach the MQTT broker and what to ask of it."""

    address: MqttAddress
    topics: tuple[str, ...]
    client_id: str
    qos: int = 0
    version: str = "5"
    ca_file: str | None = None
    max_payload_bytes: int = 256 * 1024


@dataclass(frozen=True, slots=True)
class ConsumerStatistics:
    """A snapshot. ``tick_age`` is seconds since the thread last went round its loop."""

    alive: bool
    connected: bool
    subscribed: bool
    tick_age: float
    received: int
    connects: int
    refused: Mapping[str, int]
    detail: str

    @property
    def ready(self) -> bool:
        """Telemetry can arrive: thread alive and turning, connected, every filter granted."""
        return self.alive and self.connected and self.subscribed and self.tick_age < 2 * CONNECT_SECONDS + TICK_SECONDS
