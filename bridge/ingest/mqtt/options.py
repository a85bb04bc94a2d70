"""What the consumer is told, and what it tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bridge.core.addresses import MqttAddress

CONNECT_SECONDS: Final = 5.0
"""For TCP and TLS to the MQTT broker, and again for CONNACK and SUBACK to arrive."""
TICK_SECONDS: Final = 0.5
"""Longest wait in the selector; paho's keep-alive check runs at least so often."""
LOST_AGAIN_AFTER: Final = 3
"""Short connections in a row: one is a restart of the MQTT broker, and two may be chance."""


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

    @property
    def ready(self) -> bool:
        """Telemetry can arrive: thread alive and turning, connected, every filter granted."""
        return self.alive and self.connected and self.subscribed and self.tick_age < 2 * CONNECT_SECONDS + TICK_SECONDS


def lost_text(short_links: int) -> str:
    """What to say of a connection that ended without a word, the last of so many short ones in a row.

    Mosquitto 2.0 does not say "session taken over" to a client whose session ends with its connection.
    """
    if short_links < LOST_AGAIN_AFTER:
        return "connection lost"
    return "connection lost again soon after it was made; does another client use our BRIDGE_MQTT_CLIENT_ID?"
