"""What the consumer is given, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bridge.core.addresses import MqttAddress
from bridge.ingest.mqtt.limits import ConsumerLimits


@dataclass(frozen=True, slots=True)
class ConsumerOptions:
    """How to reach the MQTT broker and what to ask of it."""

    address: MqttAddress
    topics: tuple[str, ...]
    client_id: str
    qos: int = 0
    version: str = "5"
    ca_file: str | None = None
    max_payload_bytes: int = 128 * 1024


@dataclass(frozen=True, slots=True)
class ConsumerStatistics:
    """A snapshot. ``tick_age`` is seconds since the thread last went round its loop.

    ``failures`` counts the attempts in a row that came to nothing or did not last, a refused topic filter
    among them; ``detail`` says why the last one did.
    """

    alive: bool
    connected: bool
    subscribed: bool
    tick_age: float
    received: int
    connects: int
    refused: Mapping[str, int]
    detail: str
    failures: int = 0
    silent_seconds: float = ConsumerLimits().silent_seconds

    @property
    def ready(self) -> bool:
        """Telemetry can arrive: thread alive and turning, connected, every filter granted."""
        return self.alive and self.connected and self.subscribed and self.tick_age < self.silent_seconds
